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
    const seconds = await task(controller.signal);
    isRunning = false;
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
