// Dark by default, light by choice; the choice is kept in this browser, and nothing else is.

import { byId } from "./dom.js";

const KEY = "medinterp-theme";

/** What the browser keeps; a frame without storage of its own keeps nothing. */
function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

/** @param {string} theme */
function keep(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    // The choice then holds for this page.
  }
}

/** @param {HTMLElement} root */
export function startTheme(root) {
  const button = byId("theme");
  const use = (/** @type {string} */ theme) => {
    root.dataset.theme = theme;
    document.documentElement.dataset.theme = theme;
    button.textContent = theme === "light" ? "Dark" : "Light";
    button.title = `Show the page ${theme === "light" ? "dark" : "light"}`;
  };
  button.addEventListener("click", () => {
    const theme = root.dataset.theme === "light" ? "dark" : "light";
    use(theme);
    keep(theme);
  });
  use(kept() === "light" ? "light" : "dark");
}
