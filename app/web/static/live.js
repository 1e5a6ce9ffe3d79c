"use strict";
// Keeps the page up to date: the server sends HTML elements with ids, and each is merged into the one that is there, node
// by node, so that focus, open details, scroll position and a selection stay. Without this script the page is complete.
(() => {
  const PATIENCE = 2000; // a short break is not worth a word
  const SILENCE = 40000; // the server says something every 15 seconds
  const AGAIN = 5000;

  const still = document.getElementById("still");
  const state = document.getElementById("live");
  const pause = document.getElementById("pause");
  const title = document.title;

  let source = null;
  let paused = false;
  let heard = 0;
  let doubt = 0;

  const say = (words) => {
    clearTimeout(doubt);
    doubt = 0;
    if (state.textContent !== words) state.textContent = words; // a live region: said only when it changes
    state.dataset.state = words.toLowerCase();
  };

  const lose = () => {
    doubt ||= setTimeout(() => say("Reconnecting"), PATIENCE);
  };

  const leave = () => {
    source?.close();
    source = null;
  };

  const follow = () => {
    if (source || paused || document.hidden) return;
    heard = Date.now();
    source = new EventSource(still.dataset.stream);
    source.onmessage = (event) => {
      heard = Date.now();
      say("Live");
      for (const html of JSON.parse(event.data)) show(html);
    };
    source.onerror = () => {
      lose();
      // A refusal, after which a browser does not try again: the session is over, or the gateway cannot serve.
      if (source?.readyState === EventSource.CLOSED) {
        leave();
        setTimeout(askWhy, AGAIN);
      }
    };
  };

  const askWhy = async () => {
    try {
      const ready = await fetch("/health/ready", { cache: "no-store" });
      if (ready.ok) return location.reload(); // a fresh page says why: it is the sign-in page, or it is live again
    } catch {
      // Not reachable: follow() goes on trying.
    }
    follow();
  };

  const show = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html.trim();
    const fresh = holder.content.firstElementChild;
    const old = document.getElementById(fresh.id);
    if (!old) return;
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    merge(old, fresh);
    if (focused && !focused.isConnected) (document.getElementById("referrals-heading") ?? document.querySelector("h1")).focus();
    if (fresh.dataset.title !== undefined) document.title = fresh.dataset.title + title;
  };

  const merge = (old, fresh) => {
    mergeAttributes(old, fresh);
    const ids = new Set(Array.from(fresh.children, (child) => child.id));
    for (const child of Array.from(old.children)) if (child.id && !ids.has(child.id)) child.remove();
    let at = old.firstChild;
    for (const next of Array.from(fresh.childNodes)) {
      const same = next.id ? byId(old, next.id) : alike(at, next) ? at : null;
      if (!same) {
        old.insertBefore(document.importNode(next, true), at);
        continue;
      }
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      if (next.nodeType !== Node.ELEMENT_NODE) {
        if (same.data !== next.data) same.data = next.data;
      } else if (!("place" in next.dataset)) merge(same, next); // an empty place: its own part follows
    }
    while (at) {
      const spare = at;
      at = at.nextSibling;
      spare.remove();
    }
  };

  const byId = (parent, id) => Array.from(parent.children).find((child) => child.id === id);

  const alike = (old, fresh) => old && !old.id && old.nodeName === fresh.nodeName;

  const mergeAttributes = (old, fresh) => {
    for (const { name } of Array.from(old.attributes)) {
      const theirs = name === "open" && old.nodeName === "DETAILS"; // the reader's own doing
      if (!fresh.hasAttribute(name) && !theirs) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  };

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume updates" : "Pause updates";
    if (paused) {
      leave();
      say("Paused");
    } else {
      say("Connecting");
      follow();
    }
  });

  // A browser keeps few connections to one host: a page that nobody looks at gives its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) leave();
    else follow();
  });

  setInterval(() => {
    if (!source || Date.now() - heard < SILENCE) return;
    lose(); // a connection can die without a word
    leave();
    follow();
  }, 5000);

  still.hidden = true;
  pause.hidden = false;
  document.title = (document.getElementById("concerns")?.dataset.title ?? "") + title;
  follow();
})();
