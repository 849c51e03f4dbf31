import type { GradioApp, GradioVersion } from "./app.ts";

const builds: Record<GradioVersion, string> = { "4.44": "4.44.1", "5.50": "5.50.0", "6.31": "6.31.0" };

/** What stands before the path of every call but that of the configuration. */
export const apiPrefix = (version: GradioVersion) => (version === "4.44" ? "" : "/gradio_api");

/** What `/config` says. The state makes clients hold a heartbeat open, as they must with the real apps. */
export function configOf({ endpoint, parameters, outputs: shown }: GradioApp, root: string, version: GradioVersion) {
  const component = (id: number, type: string, name: string) => ({
    id,
    type,
    props: { name },
    component_class_id: `${id}`,
  });
  const inputs = parameters.map((_, index) => index + 1);
  const outputs = shown.map((_, index) => parameters.length + 1 + index);
  const dependency = {
    id: 0,
    targets: [[1, "click"]],
    inputs,
    outputs,
    backend_fn: true,
    js: null,
    queue: true,
    api_name: endpoint.slice(1),
    types: { generator: false, cancel: false },
    ...(version === "6.31" ? { api_visibility: "public" } : { show_api: true }),
    connection: "sse",
    cancels: [],
    trigger_mode: "once",
    rendered_in: null,
  };
  const components = [
    ...parameters.map((parameter, index) => component(index + 1, parameter.component, parameter.name)),
    ...shown.map((type, index) => component(parameters.length + 1 + index, type.toLowerCase(), `output ${index + 1}`)),
    component(parameters.length + shown.length + 1, "state", "state"),
  ];
  return {
    version: builds[version],
    ...(version === "4.44" ? {} : { api_prefix: apiPrefix(version) }),
    app_id: 1,
    mode: "blocks",
    protocol: "sse_v3",
    enable_queue: true,
    root,
    connect_heartbeat: true,
    components,
    dependencies: [dependency],
    page: { "": { components: components.map(({ id }) => id), dependencies: [0], layout: {} } },
    layout: {},
    title: "c3-render simulator",
    theme: "",
    username: null,
    space_id: null,
    is_space: false,
  };
}

/** What `/info` says: the parameters by name. */
export function infoOf({ endpoint, parameters, outputs }: GradioApp) {
  const described = parameters.map(({ name, component, initial }) => ({
    label: name,
    parameter_name: name,
    parameter_has_default: initial !== undefined,
    parameter_default: initial ?? null,
    type: { type: "string" },
    python_type: { type: "str", description: "" },
    component,
    example_input: null,
  }));
  const returns = outputs.map((type, index) => ({
    label: `output ${index + 1}`,
    type: {},
    component: type,
    python_type: { type: "str", description: "" },
  }));
  return { named_endpoints: { [endpoint]: { parameters: described, returns } }, unnamed_endpoints: {} };
}
