// Elements made in one place, and only ever from text: nothing that was sent becomes markup.

const SVG = "http://www.w3.org/2000/svg";

// h("p", {class: "x", onclick: f}, "text", element, …): an element; null children are left out.
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

const PATHS = {
  back: "M15 5l-7 7 7 7",
  bin: "M5 7h14M10 11v6M14 11v6M7 7l1 12h8l1-12M9 7V4h6v3",
  bolt: "M13 3L5 13.500h5.500L10 21l8.500-11H13z",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h10v11H9zM5 15V4h10",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  group: "M8.500 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM3 19c0-3 2.500-5 5.500-5s5.500 2 5.500 5M16 11a2.500 2.500 0 1 0-1-4.800M16.500 14c2.700.2 4.500 2 4.500 5",
  inbox: "M4 13l2.500-8h11L20 13v6H4zM4 13h5l1 2.500h4l1-2.500h5",
  info: "M12 11v6M12 7.500v.1M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z",
  pin: "M12 21s7-6.300 7-11.500A7 7 0 0 0 5 9.500C5 14.700 12 21 12 21zM12 12a2.500 2.500 0 1 0 0-5 2.500 2.500 0 0 0 0 5z",
  room: "M4 5h16v11H12l-5 4v-4H4z",
  search: "M11 18a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM16 16l4.500 4.500",
  terminal: "M4 5h16v14H4zM7.500 9.500l3 2.500-3 2.500M13 15h4",
  theme: "M12 4a8 8 0 1 0 8 8c-4 2-10-2-8-8z",
  down: "M12 5v14M6 13l6 6 6-6",
  puzzle: "M5 8h4V6a2 2 0 1 1 4 0v2h5v4h-2a2 2 0 1 0 0 4h2v4H5z",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

// A round picture of an id: its first letter, in one of eight colours that is always the same.
export function avatar(id, kind) {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + character.codePointAt(0)) >>> 0;
  const face = kind === "group" ? icon("group") : kind === "room" ? icon("room") : [...id][0]?.toUpperCase() ?? "?";
  return h("span", { class: `avatar tint-${hash % 8} ${kind}`, "aria-hidden": "true" }, face);
}

export function copyButton(text, label) {
  const button = h("button", { class: "icon mini", title: label, "aria-label": label, type: "button" }, icon("copy"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.classList.add("done");
  });
  return button;
}
