// Preloaded into processes of the test: the file named by TEST_CLOCK says by how many milliseconds their clock is wrong.
import { readFileSync } from "node:fs";

const RealDate = Date;
const aheadMs = () => Number(readFileSync(process.env.TEST_CLOCK ?? "", "utf8"));

globalThis.Date = class extends RealDate {
  constructor(...args) {
    super(...(args.length === 0 ? [RealDate.now() + aheadMs()] : args));
  }
  static now() {
    return RealDate.now() + aheadMs();
  }
};
