
"use strict";

// Tables: a heading becomes a button that sorts by its column, numbers from the
// highest and text from A first; what has no value stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    const text = head.classList.contains("text");
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const down = before ? before === "ascending" : !text;
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = row => row.cells[column].dataset.sort;
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => {
        const x = key(a), y = key(b);
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = text ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
        return down ? -order : order;
      });
      body.append(...rows);
    });
  });
}

// Curves: of many classes one is shown, which a list chooses.
const groups = [...document.querySelectorAll("#curves .group")];
if (groups.length > 1) {
  const label = document.createElement("label"), select = document.createElement("select");
  label.className = "picker";
  label.append("class ", select);
  select.append(...groups.map(g => new Option(g.dataset.class)), new Option("all classes"));
  const show = () => groups.forEach((g, i) => { g.hidden = select.selectedIndex < groups.length && i !== select.selectedIndex; });
  select.addEventListener("change", show);
  groups[0].before(label);
  show();
}

// Gallery: an object opens large; arrow keys go to its neighbours.
const viewer = document.getElementById("viewer");
if (viewer) {
  const cards = [...document.querySelectorAll(".card")];
  const title = document.getElementById("viewer-h"), body = document.getElementById("viewer-body");
  let at = 0;
  const show = i => {
    at = (i + cards.length) % cards.length;
    title.textContent = cards[at].querySelector("h4").textContent;
    body.replaceChildren(cards[at].querySelector(".line").cloneNode(true), cards[at].querySelector(".views").cloneNode(true));
    for (const image of body.querySelectorAll("img")) image.loading = "eager";
    viewer.scrollTop = 0;
  };
  const open = i => { show(i); viewer.showModal(); };
  cards.forEach((card, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "open";
    button.textContent = "Enlarge";
    button.setAttribute("aria-label", "Enlarge " + card.querySelector("h4").textContent);
    button.addEventListener("click", () => open(i));
    card.append(button);
    const views = card.querySelector(".views");
    views.classList.add("live");
    views.addEventListener("click", () => open(i));
  });
  document.getElementById("viewer-previous").addEventListener("click", () => show(at - 1));
  document.getElementById("viewer-next").addEventListener("click", () => show(at + 1));
  document.getElementById("viewer-close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("click", e => { if (e.target === viewer) viewer.close(); });
  viewer.addEventListener("close", () => cards[at].querySelector(".open").focus());
  viewer.addEventListener("keydown", e => {
    if (e.key === "ArrowLeft") show(at - 1);
    if (e.key === "ArrowRight") show(at + 1);
  });
}
