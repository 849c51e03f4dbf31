export { ids } from "./names.ts";
