"use strict";
// Says in an open inbox that there is something new. The list itself stays as it is, for somebody may be ticking items.
// Without this script the page is complete: it has a link to read it anew.
const news = document.getElementById("news");
const again = document.createElement("a");
again.className = "govuk-link";
again.href = location.href;
again.textContent = "Show it";

let source = null;

const follow = () => {
  if (source || document.hidden) return;
  source = new EventSource(news.dataset.stream);
  source.onmessage = (event) => {
    const { words } = JSON.parse(event.data);
    if (news.dataset.words === words) return;
    news.dataset.words = words;
    news.replaceChildren(...(words ? [`${words} `, again] : []));
  };
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) return; // it tries again by itself
    leave();
    setTimeout(follow, 5000);
  };
};

const leave = () => {
  source?.close();
  source = null;
};

// A browser keeps few connections to one host: a page that nobody looks at gives its own back.
document.addEventListener("visibilitychange", () => (document.hidden ? leave() : follow()));
follow();
