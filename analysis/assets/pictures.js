"use strict";

// A film: a slider that moves by itself until it is stopped, or has come round to where it began.

function film(button, slider, perSecond) {
  let ticking = null;
  const stop = () => {
    clearInterval(ticking);
    ticking = null;
    button.textContent = "Play";
  };
  button.addEventListener("click", () => {
    if (ticking) return stop();
    button.textContent = "Stop";
    ticking = setInterval(() => {
      if (!button.isConnected) return stop();
      const last = Number(slider.value) >= Number(slider.max);
      slider.value = last ? slider.min : Number(slider.value) + 1;
      slider.dispatchEvent(new Event("input"));
    }, 1000 / perSecond);
  });
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
  film(root.querySelector(".play"), slider, 3);
  for (const select of [map, chosen]) select.addEventListener("change", update);
  every.addEventListener("toggle", update);
  update();
}

part((root) => root.querySelectorAll(".attention").forEach(attention));
