// The description of the service as a page: Swagger UI over openapi.json, without anything from elsewhere.
const dark = matchMedia("(prefers-color-scheme: dark)");
const themed = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", themed);
themed();

const token = sessionStorage.getItem("persona-token"); // that of the page to try the service
globalThis.SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#described",
  validatorUrl: null, // it would be asked over the network
  defaultModelsExpandDepth: 0,
  requestInterceptor: (request) => {
    if (token) request.headers.authorization = `Bearer ${token}`;
    return request;
  },
});
