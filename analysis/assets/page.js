"use strict";

// A part of the page is set up once it is there: when it is loaded, and where it is replaced.

const parts = [];

function part(setUp) {
  parts.push(setUp);
  setUp(document);
}

// Elements, whose texts are never read as markup.

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// Dark or light: as the system has it, until a reader chooses.

const system = matchMedia("(prefers-color-scheme: dark)");
const themed = [];

function remembered() {
  try {
    return localStorage.getItem("fovea-theme");
  } catch {
    return null;
  }
}

function theme() {
  return remembered() ?? fovea.theme ?? (system.matches ? "dark" : "light");
}

function paint() {
  document.documentElement.style.colorScheme = theme();
  document.querySelector(".theme").setAttribute("aria-pressed", theme() === "dark");
  for (const repaint of themed) repaint();
}

document.querySelector(".theme").addEventListener("click", () => {
  fovea.theme = theme() === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("fovea-theme", fovea.theme);
  } catch {}
  paint();
});
system.addEventListener("change", paint);
paint();

// Contents: the section that is read is marked.

const reading = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of document.querySelectorAll("nav a")) {
        if (link.hash.slice(1) === entry.target.id) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }
  },
  { rootMargin: "-15% 0px -75% 0px" },
);
part((root) => {
  const sections = root.matches?.("section") ? [root] : root.querySelectorAll("main > section");
  for (const section of sections) reading.observe(section);
});
