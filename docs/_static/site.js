// What scrolls can be reached with the keyboard: pictures and tables of steps, on pages and in notebooks.
document.addEventListener("DOMContentLoaded", () => {
  for (const area of document.querySelectorAll('.bd-article div[style*="overflow"]')) area.tabIndex = 0;
});
