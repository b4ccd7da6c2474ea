// Runs before the page is painted: says that scripts run, and sets the colors chosen before.
"use strict";
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("ltbench-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* storage is refused: the page follows the system */ }
