"use strict";
(() => {
  const buttons = [...document.querySelectorAll("button[data-show]")];
  const sections = [...document.querySelectorAll("section")];
  const search = document.querySelector("input[type=search]");
  if (!search) return;
  const articles = sections.flatMap((section) =>
    [...section.querySelectorAll("article")].map((article) => ({ article, text: article.textContent.toLowerCase() })));
  let tag = "";
  const update = () => {
    const wanted = search.value.toLowerCase();
    for (const { article, text } of articles) article.hidden = !text.includes(wanted);
    let shown = 0;
    for (const section of sections) {
      const matching = section.querySelectorAll("article:not([hidden])").length;
      section.hidden = (tag && section.dataset.tag !== tag) || matching === 0;
      shown += section.hidden ? 0 : matching;
    }
    document.querySelector("output").textContent = `${shown} of ${articles.length} examples`;
    document.querySelector("main > .empty").hidden = shown > 0;
  };
  for (const button of buttons) button.addEventListener("click", () => {
    tag = button.dataset.show;
    for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
    update();
  });
  search.addEventListener("input", update);
  update();
})();
