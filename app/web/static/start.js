// Wakes the design system's components: each page is complete without.
import { initAll } from "/static/vendor/govuk.js";

document.body.classList.add("js-enabled", "govuk-frontend-supported");
initAll();
