// Returns {faults, brightness}: what a reader of this page would stumble over, and how bright its ground is, 0 to 1.
() => {
  const faults = [];
  const shown = element => element.getClientRects().length > 0 && getComputedStyle(element).visibility === "visible";
  const short = text => text.trim().replace(/\s+/g, " ").slice(0, 60);

  const wide = document.documentElement.scrollWidth;
  if (wide > window.innerWidth) faults.push(`wider than the window: ${wide} pixels of ${window.innerWidth}`);

  // Text nodes that are seen, with their elements.
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (node.textContent.trim() && !element.closest("script, style, title") && shown(element)) texts.push([node, element]);
  }

  // A word of ordinary length stands in one line.
  for (const [node] of texts) {
    for (const word of node.textContent.matchAll(/(?<!\S)[\p{L}\p{N}.,:%]{2,16}(?!\S)/gu)) {
      const range = document.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top / 4)));
      if (lines.size > 1) faults.push(`broken word: ${word[0]} in ${short(node.textContent)}`);
    }
  }

  // Contrast of text with what is behind it, as WCAG 2 defines it: 4.5, or 3 for large text.
  const rgba = text => {
    const parts = text.match(/[\d.]+/g).map(Number);
    return [...parts.slice(0, 3), parts.length > 3 ? parts[3] : 1];
  };
  const over = (top, below) => below.map((value, i) => (i < 3 ? top[i] * top[3] + value * (1 - top[3]) : 1));
  const ground = element => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) layers.push(rgba(getComputedStyle(each).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const luminance = colour => {
    const [r, g, b] = colour.slice(0, 3).map(v => v / 255).map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  for (const [node, element] of texts) {
    const style = getComputedStyle(element);
    const below = ground(element);
    const ink = over(rgba(element.closest("svg") ? style.fill : style.color), below);
    const [low, high] = [luminance(ink), luminance(below)].sort((a, b) => a - b);
    const contrast = (high + 0.05) / (low + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.5 && Number(style.fontWeight) >= 600);
    if (contrast < (large ? 3 : 4.5)) faults.push(`low contrast: ${contrast.toFixed(2)} of ${short(node.textContent)}`);
  }

  // The labels of a drawing lie within it.
  for (const text of document.querySelectorAll("svg text")) {
    const [box, frame] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()];
    const out = Math.max(frame.left - box.left, box.right - frame.right, frame.top - box.top, box.bottom - frame.bottom);
    if (box.width && out > 0.5) faults.push(`cut off: ${short(text.textContent)} by ${out.toFixed(1)} pixels`);
  }

  // The last row of tiles is full.
  for (const tiles of document.querySelectorAll(".tiles")) {
    const last = tiles.lastElementChild;
    const gap = tiles.getBoundingClientRect().right - last.getBoundingClientRect().right;
    if (window.innerWidth < 640 && gap > 2) faults.push(`gap: ${gap.toFixed(0)} pixels behind ${short(last.textContent)}`);
  }
  return {faults, brightness: luminance(ground(document.body))};
}
