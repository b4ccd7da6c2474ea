// Runs before the page is painted: marks that scripts run, and sets the stored color theme.
"use strict";
document.documentElement.classList.add("js");
try {
  const theme = localStorage.getItem("ltbench-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch { /* no storage: the page follows the system */ }
