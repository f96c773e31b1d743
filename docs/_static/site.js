// Pictures of the engine follow the page's switch of light and dark as they follow Jupyter's.
const root = document.documentElement;
const follow = () => { root.dataset.jpThemeLight = String(root.dataset.theme !== "dark"); };
new MutationObserver(follow).observe(root, { attributeFilter: ["data-theme"] });
follow();

// What scrolls can be reached with the keyboard: pictures and tables of steps, on pages and in notebooks.
document.addEventListener("DOMContentLoaded", () => {
  for (const area of document.querySelectorAll('.bd-article div[style*="overflow"]')) area.tabIndex = 0;
});
