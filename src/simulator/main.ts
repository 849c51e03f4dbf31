import { readEnvFile } from "../config/envFile.ts";
import { loadConfig } from "../config/index.ts";
import { fail, stopOnSignal } from "../process/lifecycle.ts";
import { startSimulator } from "./simulator.ts";

/** `npm run simulator`: the simulator alone. */
async function main(): Promise<void> {
  readEnvFile();
  const config = loadConfig(process.env);
  const { ffmpegPath, ffprobePath } = config;
  const simulator = await startSimulator({ ...config.simulator, ffmpegPath, ffprobePath });
  console.log(
    [
      `The simulator is running on ${simulator.url}. API and worker use it with`,
      `  GPU_PROVIDER=simulator C3_API_URL=${simulator.comput3Url} C3_API_KEY=${simulator.apiKey}`,
      `  NODE_URL_TEMPLATE=${simulator.nodeUrlTemplate} TRUSTED_ORIGINS=${simulator.url}`,
    ].join("\n"),
  );
  await stopOnSignal(() => simulator.close());
}

main().catch(fail);
