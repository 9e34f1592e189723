// Runs a task again and again, and never while the page is hidden.

// The task gets an AbortSignal and returns the seconds until its next turn, or null when it is done.
// Returns the function that stops it.
export function poll(task) {
  const controller = new AbortController();
  let timer = 0;
  let isRunning = false;
  let isDone = false;

  async function turn() {
    if (isRunning || isDone) return;
    isRunning = true;
    let seconds;
    try {
      seconds = await task(controller.signal);
    } finally {
      isRunning = false;
    }
    isDone ||= seconds === null;
    if (!isDone && !document.hidden) timer = setTimeout(turn, seconds * 1000);
  }

  function onVisibility() {
    clearTimeout(timer);
    if (!document.hidden) turn();
  }

  document.addEventListener("visibilitychange", onVisibility);
  onVisibility();
  return () => {
    isDone = true;
    clearTimeout(timer);
    controller.abort();
    document.removeEventListener("visibilitychange", onVisibility);
  };
}

// Returns a function that gives the seconds until the next turn, each time half as many again, and null after `minutes`:
// who reads a lead is written down.
export function slower(first, longest = 10, minutes = 10) {
  let seconds = first / 1.5;
  let asked = 0;
  return () => {
    seconds = Math.min(seconds * 1.5, longest);
    asked += seconds;
    return asked > minutes * 60 ? null : seconds;
  };
}
