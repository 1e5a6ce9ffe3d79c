// How far an upload is, every two seconds until it is done; then the page itself where rows were refused: only it shows
// them, and that look is logged. Without scripts the page loads itself again.
const again = async () => {
  const answer = await fetch(`${location.pathname}/progress`);
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("progress");
  document.getElementById("progress").replaceWith(fresh);
  if (fresh.dataset.underWay === "yes") setTimeout(again, 2000);
  else if (fresh.dataset.rejected !== "0") location.reload();
};
setTimeout(again, 2000);
