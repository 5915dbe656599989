// Looks at a page as it stands: contrast of every text, limits of every field to write in, what a screen reader and a
// finger find. Gives a list of sentences, empty where all is well.
() => {
  const faults = [];
  const parse = (text) => {
    const numbers = text.match(/-?[\d.]+(e-?\d+)?%?/g).map((one) => (one.endsWith("%") ? parseFloat(one) / 100 : parseFloat(one)));
    const [r, g, b, a = 1] = text.startsWith("color(srgb") ? [...numbers.slice(0, 3).map((one) => one * 255), numbers[3] ?? 1] : numbers;
    return {r, g, b, a};
  };
  const over = (top, below) => ({r: top.r * top.a + below.r * (1 - top.a), g: top.g * top.a + below.g * (1 - top.a), b: top.b * top.a + below.b * (1 - top.a), a: 1});
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const canvas = dark ? {r: 18, g: 18, b: 18, a: 1} : {r: 255, g: 255, b: 255, a: 1};
  const chain = (element) => { const all = []; for (let one = element; one; one = one.parentElement) all.unshift(one); return all; };
  const behind = (element) => chain(element).reduce((below, one) => over(parse(getComputedStyle(one).backgroundColor), below), canvas);
  const light = ({r, g, b}) => {
    const [x, y, z] = [r, g, b].map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const contrast = (one, other) => { const [a, b] = [light(one), light(other)].sort((x, y) => y - x); return (a + 0.05) / (b + 0.05); };
  const seen = (element) => element.checkVisibility({opacityProperty: true, visibilityProperty: true}) && !element.closest(".heard")
    && element.getBoundingClientRect().width > 0;
  const called = (element) => `${element.tagName.toLowerCase()}${element.id ? `#${element.id}` : ""}.${element.className} "${(element.textContent || element.value || "").trim().slice(0, 30)}"`;
  const opacity = (element) => chain(element).reduce((all, one) => all * parseFloat(getComputedStyle(one).opacity), 1);
  const modal = [...document.querySelectorAll("dialog[open]")].pop();
  const all = [...(modal ?? document.body).querySelectorAll("*")].filter((one) => !one.closest("svg") && seen(one));

  for (const element of all) {
    const style = getComputedStyle(element), below = behind(element);
    const texts = [[...element.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim()) && style.color,
      /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName) && style.color,
      element.placeholder && !element.value && getComputedStyle(element, "::placeholder").color].filter(Boolean);
    if (!element.closest(":disabled")) {
      for (const text of texts) {
        const colour = parse(text), size = parseFloat(style.fontSize);
        const shown = contrast(over({...colour, a: colour.a * opacity(element)}, below), below);
        const least = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700) ? 3 : 4.5;
        if (shown < least - 0.005) faults.push(`contrast ${shown.toFixed(2)} of ${least}: ${called(element)}`);
      }
    }
    if (element.matches("input, textarea, select:not(.small-select)") && !element.disabled) {
      const edge = contrast(parse(style.borderTopColor), behind(element.parentElement));
      if (edge < 3) faults.push(`its edge has a contrast of ${edge.toFixed(2)}: ${called(element)}`);
    }
    const box = element.getBoundingClientRect();
    if (element.matches("button, select, input, textarea, summary.button, a.button") && Math.min(box.width, box.height) < 23.9) {
      faults.push(`${box.width.toFixed(0)} x ${box.height.toFixed(0)} px are too small for a finger: ${called(element)}`);
    }
    if (element.matches("button, select, input, a") && !chain(element).some((one) => /auto|scroll/.test(getComputedStyle(one).overflowX) && one !== document.documentElement)
        && (box.right > innerWidth + 1 || box.left < -1)) faults.push(`lies outside the window: ${called(element)}`);
    if (/auto|scroll/.test(style.overflowX) && element.scrollWidth > element.clientWidth + 1 && element.tabIndex < 0 && !element.querySelector("button, a, input, select")) {
      faults.push(`scrolls sideways without a key: ${called(element)}`);
    }
  }
  const saving = document.querySelector("#saving")?.getBoundingClientRect();
  if (saving && !modal && (saving.width < 40 || saving.right > innerWidth || saving.top < 0)) faults.push("the status of saving is not seen");
  if (document.documentElement.scrollWidth > innerWidth + 1) faults.push(`the page is ${document.documentElement.scrollWidth} px wide`);
  return [...new Set(faults)];
}
