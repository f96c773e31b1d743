// Pictures of the engine follow the page's switch of light and dark as they follow Jupyter's.
const root = document.documentElement;
const follow = () => { root.dataset.jpThemeLight = String(root.dataset.theme !== "dark"); };
new MutationObserver(follow).observe(root, { attributeFilter: ["data-theme"] });
follow();

// What scrolls can be reached with the keyboard: pictures, tables of steps, and formulas wider than a phone, which
// MathJax draws later.
const SCROLLING = '.bd-article :is(.picture, mjx-container[display], div[style*="overflow"])';
const reach = () => {
  for (const area of document.querySelectorAll(SCROLLING)) {
    if (area.scrollWidth > area.clientWidth || area.scrollHeight > area.clientHeight) area.tabIndex = 0;
    else area.removeAttribute("tabindex");
  }
};
window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  const sizes = new ResizeObserver(reach);
  for (const article of document.querySelectorAll(".bd-article")) sizes.observe(article);
});
