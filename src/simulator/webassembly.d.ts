/** The little that is used of it: TypeScript declares WebAssembly for browsers only. */
declare namespace WebAssembly {
  type Module = object;
  type Instance = object;
  function compile(bytes: Uint8Array): Promise<Module>;
  function instantiate(module: Module, imports: object): Promise<Instance>;
}
