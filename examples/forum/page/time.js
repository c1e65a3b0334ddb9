// Points in time, in words that stay true while the page is open.

const UNITS = [["year", 31_536_000], ["month", 2_592_000], ["week", 604_800], ["day", 86_400], ["hour", 3600], ["minute", 60]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const absolute = new Intl.DateTimeFormat("en", { dateStyle: "long", timeStyle: "short" });

/** Shows `timestamp` in a `<time>` element: the distance as its text, the date as its tooltip. */
export function showTime(element, timestamp) {
  element.dateTime = timestamp;
  element.title = absolute.format(new Date(timestamp));
  element.textContent = distance(timestamp);
}

/** Keeps the texts of all `<time>` elements of the page true. */
export function keepTimes() {
  setInterval(() => {
    for (const element of document.querySelectorAll("time[datetime]")) element.textContent = distance(element.dateTime);
  }, 30_000);
}

function distance(timestamp) {
  const seconds = (Date.now() - Date.parse(timestamp)) / 1000;
  const [unit, length] = UNITS.find(([, length]) => seconds >= length) ?? [];
  // Also for the future: the server's clock may be ahead of ours.
  return unit ? relative.format(-Math.floor(seconds / length), unit) : "just now";
}
