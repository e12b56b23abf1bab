"use strict";

// The overview: search, filters and groups of runs; the facts of one; how two of them differ.

const FILTERS = { kind: "Kind", state: "State", game: "Game" };
const GROUPS = { method: "method", kind: "kind", game: "game", state: "state" };
const overview = { search: "", chosen: {}, group: "" };
const runs = () => fovea.runs.list;

function setting(key, run) {
  const { values, of } = fovea.runs;
  if (of[key] === null) return values[key][0];
  const place = of[key][run];
  return place === -1 ? null : values[key][place];
}

const texts = new WeakMap();

function textOf(run) {
  const own = runs()[run];
  if (!texts.has(own)) {
    const varied = fovea.runs.keys.flatMap((name, key) => {
      return fovea.runs.of[key] === null ? [] : [`${name}=${setting(key, run) ?? ""}`];
    });
    const seed = `seed=${own.facts.Seed ?? ""}`;
    const words = [own.name, own.kind, own.method, own.state, own.game, own.title, seed];
    texts.set(own, [...words, own.facts.Command ?? "", ...varied].join(" ").toLowerCase());
  }
  return texts.get(own);
}

function matches(run) {
  const own = runs()[run];
  const words = overview.search.toLowerCase().split(/\s+/).filter(Boolean);
  return (
    Object.entries(overview.chosen).every(([key, value]) => !value || own[key] === value) &&
    words.every((word) => textOf(run).includes(word))
  );
}

function find(root) {
  const count = runs().length;
  const found = new Set([...Array(count).keys()].filter(matches));
  fovea.found = found.size === count ? null : found;
  for (const row of root.querySelectorAll("tbody tr[data-run]")) {
    row.hidden = !found.has(Number(row.dataset.run));
  }
  root.querySelector(".finder output").value =
    (found.size === count ? "" : `${found.size} of `) + (count === 1 ? "1 run" : `${count} runs`);
  group(root, [...found]);
  dispatchEvent(new Event("fovea:found"));
}

function group(root, found) {
  const box = root.querySelector(".groups");
  box.hidden = !overview.group;
  if (!overview.group) return;
  const groups = Map.groupBy(found, (run) => runs()[run][overview.group] || "–");
  const states = ["done", "running", "failed"];
  const head = make("tr", {}, ...[overview.group, "runs", ...states, "other"].map((name) => {
    return make("th", { scope: "col" }, name);
  }));
  const body = [...groups].map(([name, own]) => {
    const counts = states.map((state) => own.filter((run) => runs()[run].state === state).length);
    const other = own.length - counts.reduce((a, b) => a + b, 0);
    const button = make("button", { type: "button", class: "link" }, name);
    button.addEventListener("click", () => {
      const input = root.querySelector(".search");
      input.value = overview.search = name === "–" ? "" : name;
      find(root);
    });
    const numbers = [own.length, ...counts, other];
    return make("tr", {}, make("td", {}, button), ...numbers.map((n) => make("td", { class: "number" }, `${n}`)));
  });
  const table = make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
  box.replaceChildren(make("div", { class: "scroll", tabindex: 0 }, table));
}

function selector(label, values, change) {
  const select = make("select", {}, make("option", { value: "" }, "all"));
  for (const value of values) select.append(make("option", { value }, value));
  select.addEventListener("change", () => change(select.value));
  return [make("label", { class: "pick" }, `${label} `, select), select];
}

function filters(root) {
  const place = root.querySelector(".filters");
  for (const [key, label] of Object.entries(FILTERS)) {
    const values = [...new Set(runs().map((run) => run[key]))].filter(Boolean).sort();
    if (values.length < 2) {
      overview.chosen[key] = "";
      continue;
    }
    const [shown, select] = selector(label, values, (value) => {
      overview.chosen[key] = value;
      find(root);
    });
    select.value = values.includes(overview.chosen[key]) ? overview.chosen[key] : "";
    overview.chosen[key] = select.value;
    select.dataset.filter = key;
    place.append(shown);
  }
  const [shown, select] = selector("Group by", Object.keys(GROUPS), (value) => {
    overview.group = value;
    find(root);
  });
  select.options[0].textContent = "nothing";
  select.value = overview.group;
  select.dataset.filter = "group";
  place.append(shown);
}

// One run: its facts, how to make it again, its settings.

function copyable(text) {
  const button = make("button", { type: "button", class: "download" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.previousSibling);
      button.textContent = "Press Ctrl+C";
    }
  });
  return make("div", { class: "command" }, make("pre", { tabindex: 0 }, text), button);
}

function facts(root) {
  const run = Number(root.querySelector(".one").value);
  const own = runs()[run];
  const list = make("dl");
  for (const [key, text] of Object.entries(own.facts)) {
    list.append(make("dt", {}, key), make("dd", {}, make("code", {}, text)));
  }
  const lines = fovea.runs.keys.flatMap((name, key) => {
    const value = setting(key, run);
    return value === null ? [] : [`${name}: ${value}`];
  });
  const settings = make("details", {}, make("summary", {}, `All ${lines.length} settings`));
  settings.append(make("pre", { tabindex: 0 }, lines.join("\n")));
  const again = own.again
    ? [make("p", { class: "fine" }, "To make it again, beside it:"), copyable(own.again)]
    : [make("p", { class: "fine" }, "No command was kept, so that it cannot be made again by one.")];
  root.querySelector(".facts").replaceChildren(make("p", {}, own.title), ...again, list, ...(lines.length ? [settings] : []));
}

// Two runs: the settings in which they differ.

function differences(root) {
  const [a, b] = [".first", ".second"].map((name) => Number(root.querySelector(name).value));
  const rows = fovea.runs.keys.flatMap((name, key) => {
    const values = [setting(key, a), setting(key, b)];
    return values[0] === values[1] ? [] : [[name, ...values]];
  });
  for (const fact of ["Seed", "Commit", "Versions", "Data"]) {
    const values = [runs()[a].facts[fact] ?? null, runs()[b].facts[fact] ?? null];
    if (values[0] !== values[1]) rows.push([fact, ...values]);
  }
  const box = root.querySelector(".differences");
  if (!rows.length) {
    const same = a === b ? "This is one run." : "They differ in no setting, seed, commit, version or recording.";
    box.replaceChildren(make("p", { class: "empty" }, same));
    return;
  }
  const head = ["setting", runs()[a].name, runs()[b].name].map((n) => make("th", { scope: "col" }, n));
  const body = rows.map((row) => make("tr", {}, ...row.map((value) => make("td", {}, value ?? "–"))));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
  box.replaceChildren(make("div", { class: "scroll", tabindex: 0 }, table));
}

function setUpRuns(root) {
  const rows = root.querySelectorAll(".tabled tbody tr");
  rows.forEach((row, run) => {
    row.dataset.run = run;
    const name = make("button", { type: "button", class: "link" }, row.cells[0].textContent);
    row.cells[0].replaceChildren(name);
    name.addEventListener("click", () => {
      root.querySelector(".one").value = run;
      facts(root);
      root.querySelector(".facts").scrollIntoView({ block: "nearest" });
    });
  });
  const names = Map.groupBy(runs(), (run) => run.name);
  for (const [k, name] of [".one", ".first", ".second"].entries()) {
    const select = root.querySelector(name);
    runs().forEach((run, place) => {
      const text = names.get(run.name).length > 1 ? `${run.name} (${run.facts.Folder})` : run.name;
      select.append(make("option", { value: place }, text));
    });
    const last = Math.min(k === 2 ? 1 : 0, runs().length - 1);
    select.value = last;
    select.addEventListener("change", () => (k ? differences : facts)(root));
  }
  filters(root);
  const input = root.querySelector(".search");
  input.value = overview.search;
  let waiting = null;
  input.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      overview.search = input.value;
      find(root);
    }, 120);
  });
  facts(root);
  differences(root);
  find(root);
}

part((root) => {
  const section = root.matches?.("#runs") ? root : root.querySelector("#runs");
  if (section && runs().length) setUpRuns(section);
});
