"use strict";

// Figures: drawn when they come near the screen, redrawn where a selector chooses.

const SETTINGS = { responsive: true, displaylogo: false, displayModeBar: false };

function draw(group) {
  const choices = fovea.charts[group.dataset.chart];
  const select = group.querySelector(".choice");
  const figures = choices[select ? select.value : Object.keys(choices)[0]];
  group.querySelectorAll(".chart").forEach((element, k) => {
    Plotly.react(element, figures[k].data, figures[k].layout, SETTINGS);
  });
  group.dataset.drawn = "yes";
}

const groups = [...document.querySelectorAll(".charts")];
const nearing = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        nearing.unobserve(entry.target);
        draw(entry.target);
      }
    }
  },
  { rootMargin: "600px" },
);
for (const group of groups) {
  nearing.observe(group);
  group.querySelector(".choice")?.addEventListener("change", () => draw(group));
}
addEventListener("beforeprint", () => groups.filter((g) => !g.dataset.drawn).forEach(draw));

// Tables: a click on a column's head sorts, a second one the other way; empty cells stay last.

function sort(head) {
  const table = head.closest("table");
  const column = [...head.parentNode.children].indexOf(head);
  const numbers = table.tBodies[0].querySelector(`td:nth-child(${column + 1}).number`) !== null;
  const falling = head.getAttribute("aria-sort") === (numbers ? null : "ascending");
  const key = (row) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent;
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = typeof a === "number" && typeof b === "number" ? a - b : `${a}`.localeCompare(b);
    return falling ? -order : order;
  };
  const rows = [...table.tBodies[0].rows].sort((a, b) => compare(key(a), key(b)));
  table.tBodies[0].append(...rows);
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
}

for (const head of document.querySelectorAll("th")) {
  head.firstChild.addEventListener("click", () => sort(head));
}

// Attention: a picture is two layers of one element, the map's tile over the screen's tile.

function show(element, encoder, map, screen) {
  const columns = encoder.strongest[0].length;
  const across = columns > 1 ? (100 * screen) / (columns - 1) : 0;
  const layers = [`url(${encoder.screens})`];
  const sizes = [`${100 * columns}% 100%`];
  const places = [`${across}% 0`];
  if (map !== null) {
    const rows = encoder.maps.length;
    layers.unshift(`url(${encoder.sheet})`);
    sizes.unshift(`${100 * columns}% ${100 * rows}%`);
    places.unshift(`${across}% ${(100 * map) / (rows - 1)}%`);
  }
  element.style.backgroundImage = layers.join(", ");
  element.style.backgroundSize = sizes.join(", ");
  element.style.backgroundPosition = places.join(", ");
}

function describe(name, encoder, map, screen, game) {
  const [row, column] = encoder.strongest[map][screen];
  const where = `strongest in patch row ${row + 1}, column ${column + 1}`;
  return `Attention of ${name}, ${encoder.maps[map]}, on a screen of ${game}: ${where}`;
}

function attention(root) {
  const { games, encoders } = fovea.pictures[root.dataset.pictures];
  const map = root.querySelector(".map");
  const slider = root.querySelector(".screen");
  const every = root.querySelector(".every");
  const chosen = every.querySelector(".encoder");
  const heads = every.querySelector(".heads");

  function update() {
    const screen = Number(slider.value);
    const game = games[screen];
    root.querySelector("output").textContent = `${game}, screen ${screen + 1} of ${games.length}`;
    for (const element of root.querySelectorAll(".pictures .picture")) {
      const name = element.dataset.encoder;
      const encoder = name ? encoders[name] : Object.values(encoders)[0];
      const index = name ? encoder.maps.indexOf(map.value) : null;
      show(element, encoder, index === -1 ? null : index, screen);
      element.ariaLabel = !name
        ? `A screen of ${game}`
        : index === -1
          ? `${name} has no ${map.value}`
          : describe(name, encoder, index, screen, game);
    }
    if (every.open) grid(screen, game);
  }

  function grid(screen, game) {
    const encoder = encoders[chosen.value];
    const lines = [];
    encoder.maps.forEach((label, index) => {
      if (index === 0 || (index - 1) % encoder.heads === 0) {
        lines.push(document.createElement("div"));
      }
      const figure = document.createElement("figure");
      const picture = document.createElement("div");
      const caption = document.createElement("figcaption");
      picture.className = "picture";
      picture.role = "img";
      picture.ariaLabel = describe(chosen.value, encoder, index, screen, game);
      caption.textContent = label;
      show(picture, encoder, index, screen);
      figure.append(picture, caption);
      lines.at(-1).append(figure);
    });
    heads.replaceChildren(...lines);
  }

  slider.addEventListener("input", update);
  for (const select of [map, chosen]) select.addEventListener("change", update);
  every.addEventListener("toggle", update);
  update();
}

document.querySelectorAll(".attention").forEach(attention);

// Contents: the section that is read is marked.

const links = new Map(
  [...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]),
);
const reading = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id).setAttribute("aria-current", "true");
    }
  },
  { rootMargin: "-15% 0px -75% 0px" },
);
document.querySelectorAll("main > section").forEach((section) => reading.observe(section));
