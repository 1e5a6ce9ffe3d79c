"use strict";
// A file of its own: the content security policy allows no script inside a page.
const place = document.getElementById("swagger-ui");
SwaggerUIBundle({
  url: place.dataset.openapiUrl,
  domNode: place,
  deepLinking: true,
  validatorUrl: null, // never send the document to a validator elsewhere
  presets: [SwaggerUIBundle.presets.apis],
  layout: "BaseLayout",
});
