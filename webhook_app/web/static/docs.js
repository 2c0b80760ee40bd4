// Starts the vendored Swagger UI on our own description; nothing is asked of any other host.
window.addEventListener("load", async () => {
  const answer = await fetch("/openapi.json");
  const described = await answer.json();
  window.SwaggerUIBundle({
    // Requests are tried where this page was found: its policy allows no other host, not even by another of its names.
    spec: { ...described, servers: [{ url: window.location.origin }] },
    dom_id: "#swagger-ui",
    deepLinking: true,
    validatorUrl: null,
    defaultModelsExpandDepth: 0,
    displayRequestDuration: true,
    layout: "BaseLayout",
    presets: [window.SwaggerUIBundle.presets.apis],
  });
});
