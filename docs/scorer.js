// How the site's search ranks pages: guides before generated pages, and pages named by words of the query first.
// docs/check_search.py computes the same.
var Scorer = {
  objNameMatch: 20,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
  folders: { start: 12, howto: 12, settings: 12, reference: 10, commands: 2, gallery: 0, api: 0 },
  generated: ["reference/changelog", "reference/measured", "settings/advice", "settings/questions"],
  score: ([docname, title, anchor, description, score, filename, kind]) => {
    const query = (new URLSearchParams(window.location.search).get("q") || "").toLowerCase();
    const words = new Set(query.split(/[^\p{L}\p{N}]+/u).filter((word) => word.length > 2));
    const named = title.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter((word) => words.has(word)).length;
    const folder = Scorer.generated.includes(docname) ? -6 : Scorer.folders[docname.split("/")[0]] || 0;
    return (kind === "index" ? score / 4 : score) + folder + 3 * named;
  },
};
