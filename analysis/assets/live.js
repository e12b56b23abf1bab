"use strict";

// A served page: asks what runs now, and takes over what has changed, without losing what a reader
// has opened, chosen and written.

const EVERY = 2000;
let version = null;

function clock(seconds) {
  return new Date(1000 * seconds).toLocaleTimeString();
}

function say(text, lost) {
  const line = document.querySelector(".live");
  line.textContent = text;
  line.classList.toggle("lost", lost);
}

function showRunning(now) {
  const cards = now.map((run) => {
    const card = make("article", {}, make("h3", {}, `${run.name}: ${run.title}`));
    if (run.share !== null) {
      card.append(make("progress", { value: run.share, max: 1, "aria-label": `how far ${run.name} is` }));
    }
    card.append(make("p", {}, run.text));
    if (run.log.length) card.append(make("pre", { tabindex: 0 }, run.log.join("\n")));
    return card;
  });
  const box = document.querySelector(".now");
  const before = [...box.querySelectorAll("pre")].map((pre) => pre.scrollTop);
  box.replaceChildren(...cards);
  box.querySelectorAll("pre").forEach((pre, k) => (pre.scrollTop = before[k] ?? pre.scrollHeight));
}

// What a reader has done in a section, by the place of each control.

const CONTROLS = "select, input, details";

function keyed(section) {
  const counts = new Map();
  const found = new Map();
  for (const control of section.querySelectorAll(CONTROLS)) {
    const near = control.closest("[data-chart], [data-pictures]");
    if (near?.dataset.chart) continue; // it stays where it is, or is drawn anew
    const own = [control.localName, control.className, near?.dataset.pictures ?? "", control.dataset.filter ?? ""].join(" ");
    counts.set(own, (counts.get(own) ?? 0) + 1);
    found.set(`${own} ${counts.get(own)}`, control);
  }
  return found;
}

const stateOf = (control) => (control.localName === "details" ? control.open : control.value);

function restore(control, state) {
  if (stateOf(control) === state) return;
  if (control.localName === "details") {
    control.open = state;
    return;
  }
  if (control.options && ![...control.options].some((option) => option.value === state)) return;
  control.value = state;
  control.dispatchEvent(new Event(control.localName === "input" ? "input" : "change"));
}

const shape = (group) => {
  const keys = [...group.querySelectorAll(".key")].map((key) => key.dataset.name);
  const options = [...group.querySelectorAll("option")].map((option) => option.value);
  return [group.querySelectorAll(".chart").length, ...keys, ...options].join("\n");
};

function replace(old, fresh) {
  const before = new Map([...keyed(old)].map(([key, control]) => [key, stateOf(control)]));
  const active = [...keyed(old)].find(([, control]) => control === document.activeElement)?.[0];
  const selection = document.activeElement?.selectionStart;
  for (const group of fresh.querySelectorAll(".charts")) {
    const same = old.querySelector(`.charts[data-chart="${CSS.escape(group.dataset.chart)}"]`);
    if (same && shape(same) === shape(group)) group.replaceWith(same);
  }
  for (const video of fresh.querySelectorAll("video")) {
    const same = [...old.querySelectorAll("video")].find((other) => other.getAttribute("src") === video.getAttribute("src"));
    if (same) video.replaceWith(same);
  }
  old.replaceWith(fresh);
  for (const setUp of parts) setUp(fresh);
  const after = keyed(fresh);
  for (const [key, state] of before) if (after.has(key)) restore(after.get(key), state);
  if (active && after.has(active)) {
    after.get(active).focus({ preventScroll: true });
    if (typeof selection === "number") after.get(active).setSelectionRange?.(selection, selection);
  }
}

function take(update) {
  const page = new DOMParser().parseFromString(update.html, "text/html");
  const changed = new Set(
    Object.keys(update.data.charts).filter((name) => {
      return JSON.stringify(update.data.charts[name]) !== JSON.stringify(fovea.charts[name]);
    }),
  );
  const { theme } = fovea;
  Object.assign(fovea, update.data, { theme });
  const main = document.querySelector("main");
  const fresh = [...page.querySelectorAll("main > section")].map((section) => document.importNode(section, true));
  const names = new Set(fresh.map((section) => section.id));
  for (const old of main.querySelectorAll(":scope > section")) if (!names.has(old.id)) old.remove();
  let last = null;
  for (const section of fresh) {
    const old = document.getElementById(section.id);
    let here = old;
    if (!old) {
      if (last) last.after(section);
      else main.prepend(section);
      for (const setUp of parts) setUp(section);
      here = section;
    } else if (old.dataset.made !== section.dataset.made) {
      replace(old, section);
      here = section;
    }
    last = here;
  }
  for (const group of document.querySelectorAll(".charts")) {
    if (changed.has(group.dataset.chart)) redraw(group);
  }
  document.querySelector("nav ul").replaceChildren(...page.querySelector("nav ul").children);
  document.querySelector("header p").replaceWith(page.querySelector("header p"));
  document.querySelector("footer").replaceWith(page.querySelector("footer"));
}

async function ask() {
  try {
    const status = await (await fetch("status.json")).json();
    if (status.version !== version) {
      const update = await (await fetch("page.json")).json();
      if (version !== null || update.version !== fovea.version) take(update);
      version = update.version;
    }
    showRunning(status.now);
    const trouble = status.trouble ? ` It could not be made anew: ${status.trouble}` : "";
    const runs = status.now.length ? `${status.now.length} running` : "nothing is running";
    say(`Live: ${runs}, looked at ${clock(status.at)}.${trouble}`, Boolean(trouble));
  } catch {
    say("The server has stopped: this is what it showed last.", true);
  }
  setTimeout(ask, EVERY);
}

ask();
