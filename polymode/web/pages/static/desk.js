// Shortcuts, drafts, progress, trainings and live counts. Every page works without this file; it loads nothing from
// elsewhere.
"use strict";
(() => {
  const basePath = new URL(document.currentScript.src).pathname.replace(/\/static\/desk\.js$/, "");
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector) => document.querySelector(selector);
  const isTyping = (element) => element.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");

  // --- the chosen one of several answers or items ---------------------------------------------------------------
  const review = one("form[data-review]");
  const rows = review ? all(".judged fieldset", review) : all(".items > .card");
  let chosen = -1;
  const choose = (number) => {
    if (!rows.length) return;
    rows[chosen]?.classList.remove("current");
    chosen = Math.max(0, Math.min(number, rows.length - 1));
    rows[chosen].classList.add("current");
    rows[chosen].scrollIntoView({ block: "nearest" });
    const target = review ? rows[chosen] : rows[chosen].querySelector("a.head");
    if (review) target.tabIndex = -1;
    target.focus({ preventScroll: true });
  };

  const mark = (verdict) => {
    const radio = rows[chosen]?.querySelector(`input[type=radio][value=${verdict}]`);
    if (!radio) return;
    radio.checked = true;
    radio.dispatchEvent(new Event("input", { bubbles: true }));
    if (chosen + 1 < rows.length) choose(chosen + 1);
  };

  const press = (key) => {
    const button = one(`button[data-key="${key}"]:not([disabled])`);
    if (button) button.form.requestSubmit(button);
    return Boolean(button);
  };

  const actions = {
    j: () => choose(chosen + 1),
    k: () => choose(chosen - 1),
    c: () => press("c"),
    n: () => press("n"),
    "/": () => one("input[type=search]")?.focus(),
    x: () => !review && rows[chosen]?.querySelector("input[type=checkbox]")?.click(),
  };
  if (review) Object.assign(actions, { r: () => mark("correct"), w: () => mark("wrong"), u: () => mark("unscored") });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && isTyping(event.target)) event.target.blur();
    if (isTyping(event.target)) return;
    if (event.key === "Enter") {
      const isOwn = event.target.matches("a, button, summary, input[type=checkbox]");
      if (!isOwn && review && press("Enter")) event.preventDefault();
    } else if (/^[1-9]$/.test(event.key) && rows.length) {
      choose(Number(event.key) - 1);
      event.preventDefault();
    } else if (Object.hasOwn(actions, event.key)) {
      actions[event.key]();
      event.preventDefault();
    }
  });

  // --- drafts: to the server, and in the browser while the server does not take them ------------------------------
  if (review) {
    one("[data-keys]").hidden = false;
    choose(0);
    const place = `polymode-draft:${location.pathname}`;
    const state = one("[data-draft-state]");
    const fields = () => new URLSearchParams(new FormData(review));
    const stored = localStorage.getItem(place);
    if (stored && new URLSearchParams(location.search).has("done")) localStorage.removeItem(place);
    else if (stored) {
      for (const [name, value] of new URLSearchParams(stored)) {
        for (const field of all(`[name="${CSS.escape(name)}"]`, review)) {
          if (field.type === "radio") field.checked ||= field.value === value;
          else if (field.type !== "hidden") field.value = value;
        }
      }
      state.textContent = "What you had entered in this browser is back in the form.";
    }
    const body = () => {
      const data = fields();
      data.set("act", "draft");
      return data;
    };
    const save = async () => {
      const data = fields();
      data.delete("csrf");
      localStorage.setItem(place, data.toString());
      try {
        const reply = await fetch(location.pathname, { method: "POST", body: body(), redirect: "error" });
        if (reply.status !== 204) throw new Error(String(reply.status));
        localStorage.removeItem(place);
        state.textContent = "Draft saved.";
      } catch {
        state.textContent = "The draft is kept in this browser: the server does not take it now.";
      }
    };
    let timer = 0;
    let isSent = false;
    review.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(save, 500);
    });
    review.addEventListener("submit", () => {
      clearTimeout(timer);
      isSent = true;
    });
    addEventListener("pagehide", () => {
      if (timer && !isSent) navigator.sendBeacon(location.pathname, body());
    });
  }

  // --- progress while the model works -------------------------------------------------------------------------------
  for (const form of all("form[data-progress]")) {
    const button = form.querySelector("button");
    const status = document.createElement("span");
    status.setAttribute("role", "status");
    button.after(status);
    let ticking = 0;
    form.addEventListener("submit", () => {
      const start = Date.now();
      button.disabled = true;
      const show = () => (status.textContent = `${form.dataset.progress}: ${Math.round((Date.now() - start) / 1000)} s`);
      show();
      ticking = setInterval(show, 1000);
    });
    addEventListener("pageshow", () => {
      clearInterval(ticking);
      button.disabled = false;
      status.textContent = "";
    });
  }

  // --- trainings that go on: the part of the page that shows them is asked for again ---------------------------------
  const watch = (part) => {
    const seconds = Number(part.dataset.live);
    if (!seconds) return;
    setTimeout(async () => {
      let next = null;
      if (!document.hidden && !part.contains(document.activeElement)) {
        try {
          const reply = await fetch(location.href, { redirect: "error" });
          const page = new DOMParser().parseFromString(await reply.text(), "text/html");
          next = reply.ok && page.querySelector("[data-live]");
          // New drawings are fetched before the old ones go, so that nothing flickers.
          const fetchDrawing = (image) => Object.assign(new Image(), { src: image.src }).decode();
          const drawings = all("img", next || page).map(fetchDrawing);
          await Promise.allSettled(drawings);
        } catch {
          // the next time may succeed
        }
      }
      if (next) part.replaceWith(document.adoptNode(next));
      watch(next || part);
    }, 1000 * seconds);
  };
  all("[data-live]").forEach(watch);

  // --- live counts -------------------------------------------------------------------------------------------------
  const counters = all("[data-count]");
  if (counters.length) {
    setInterval(async () => {
      if (document.hidden) return;
      try {
        const counts = await (await fetch(`${basePath}/reviews/counts`, { redirect: "error" })).json();
        counts.all = Object.values(counts).reduce((sum, n) => sum + n, 0);
        for (const counter of counters) {
          const count = counts[counter.dataset.count];
          if (count !== undefined) counter.textContent = count.toLocaleString("en");
        }
      } catch {
        // the next time may succeed
      }
    }, 10000);
  }
})();
