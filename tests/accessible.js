// What a page must be for somebody who does not see it, or has no mouse (WCAG 2.2) -> a line for each thing that is wrong.
(() => {
  const wrong = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  const visible = (element) => element.checkVisibility({ visibilityProperty: true });

  // 3.1.1, 2.4.2, 4.1.2: language, title, names
  if (!document.documentElement.lang) wrong.push("no language");
  if (!document.title) wrong.push("no title");
  const ids = all("[id]").map((element) => element.id);
  for (const id of ids) if (/\s/.test(id) || ids.indexOf(id) !== ids.lastIndexOf(id)) wrong.push(`id ${id} twice or with a space`);
  for (const element of all("[aria-labelledby]"))
    if (!document.getElementById(element.getAttribute("aria-labelledby"))) wrong.push(`${element.tagName} is labelled by nothing`);
  for (const field of all("input, select, textarea"))
    if (![...field.labels].some((label) => label.textContent.trim() && visible(label))) wrong.push(`${field.id} has no label`);
  for (const each of all("a, button")) if (!each.textContent.trim()) wrong.push(`${each.outerHTML} has no name`);
  for (const section of all("section, nav")) if (!section.matches("[aria-labelledby], [aria-label]")) wrong.push("a region has no name");

  // 1.3.1: structure
  for (const name of ["header", "main", "nav", "h1"]) if (all(name).length !== 1) wrong.push(`${all(name).length} of ${name}`);
  let level = 0;
  for (const heading of all("h1, h2, h3, h4, h5, h6")) {
    const own = Number(heading.tagName[1]);
    if (own > level + 1) wrong.push(`${heading.tagName} "${heading.textContent}" below h${level}`);
    level = own;
  }
  for (const cell of all("th")) if (!cell.hasAttribute("scope")) wrong.push(`head ${cell.textContent} has no scope`);
  for (const table of all("table")) if (!table.matches("[aria-labelledby]")) wrong.push("a table has no name");

  // 1.4.3: contrast of text at least 4.5 : 1
  const light = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map((part) => part / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (!/, 0\)$/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  for (const element of all("body *")) {
    const said = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) || element.matches("input, textarea");
    if (!said || !visible(element)) continue;
    const [low, high] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) wrong.push(`contrast ${contrast.toFixed(1)} of ${element.tagName} "${element.textContent.slice(0, 40)}"`);
  }
  // 1.4.10: nothing to scroll sideways for
  if (document.documentElement.scrollWidth > innerWidth) wrong.push(`${document.documentElement.scrollWidth} px in ${innerWidth}`);
  return wrong;
})();
