// How far an upload is, every two seconds until it is done; without scripts the page loads itself again.
const again = async () => {
  const answer = await fetch(`${location.pathname}/progress`);
  if (!answer.ok || answer.redirected) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("progress");
  document.getElementById("progress").replaceWith(fresh);
  if (fresh.dataset.underWay === "yes") setTimeout(again, 2000);
};
setTimeout(again, 2000);
