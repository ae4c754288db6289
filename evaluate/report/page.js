// The gallery: filters by scene and group, the arrow keys from image to image, and pictures once they come near.
"use strict";
const figures = [...document.querySelectorAll("#gallery figure")];
const filters = [...document.querySelectorAll("#gallery select")];
const count = document.querySelector("#gallery output");
let current = null;

// Browsers make every picture whose address is in the page before it counts as loaded, near or not: 8,000 take seconds.
function draw(figure) {
  for (const picture of figure.querySelectorAll("[data-src]")) {
    picture.src = picture.dataset.src;
    delete picture.dataset.src;
  }
}

function show(figure) {
  current?.removeAttribute("aria-current");
  current = figure;
  current.setAttribute("aria-current", "true");
  current.focus({ preventScroll: true });
  current.scrollIntoView({ block: "start" });
}

function filter() {
  for (const figure of figures) {
    figure.hidden = filters.some(({ name, value }) => value && figure.dataset[name] !== value);
  }
  count.textContent = `${figures.filter((figure) => !figure.hidden).length} of ${figures.length} images`;
}

function step(event) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  // Where the keys have a meaning of their own they keep it: in a menu, and in a table that scrolls.
  if (!by || event.altKey || event.ctrlKey || event.metaKey || event.target.closest("select, .wide")) return;
  const visible = figures.filter((figure) => !figure.hidden);
  const next = visible[visible.indexOf(current) + by] ?? (visible.includes(current) ? null : visible[0]);
  if (next) show(next);
  event.preventDefault();
}

if (figures.length) {
  const near = new IntersectionObserver(
    (found) => found.filter((one) => one.isIntersecting).forEach((one) => draw(one.target)),
    { rootMargin: "100%" },
  );
  figures.forEach((figure) => near.observe(figure));
  addEventListener("beforeprint", () => figures.forEach(draw));
  document.querySelector("#gallery .filters").hidden = false;
  for (const menu of filters) menu.addEventListener("change", filter);
  document.addEventListener("keydown", step);
  filter();
}
