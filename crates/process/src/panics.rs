//! What a panic said and where it happened.
//!
//! `catch_unwind` gives the payload of a panic but not its place, and a panic hook is told the place but not
//! whether somebody catches the panic later. So a hook notes the latest panic of each thread, and [`catch`] takes
//! the note if it belongs to the panic that it caught. The hook goes on to the one that was there before: the usual
//! text still appears on standard error.
//!
//! A program built to abort on panic never comes back to [`catch`]; there the hook is the last chance to speak, and
//! calls the function given to [`watch`] for that purpose.

use std::any::Any;
use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};

/// A panic, as it is reported to another process.
pub(crate) struct Panic {
    pub(crate) message: String,
    /// `file:line:column`; none if it was raised without the hook, as `resume_unwind` does.
    pub(crate) location: Option<String>,
}

impl Panic {
    fn of(info: &PanicHookInfo<'_>) -> Self {
        Panic { message: text(info.payload()).to_owned(), location: info.location().map(ToString::to_string) }
    }
}

thread_local! {
    static LATEST: RefCell<Option<Panic>> = const { RefCell::new(None) };
}

/// Starts to take note of panics. `last_words` is called for a panic that nothing will catch because the program is
/// built to abort.
pub(crate) fn watch(last_words: fn(Panic)) {
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        previous(info);
        if cfg!(panic = "abort") {
            last_words(Panic::of(info));
        }
        // Fails only in a panic of a thread-local's destructor, when nobody can ask any more.
        let _ = LATEST.try_with(|latest| latest.replace(Some(Panic::of(info))));
    }));
}

/// Runs `action` and reports its panic.
pub(crate) fn catch<T>(action: impl FnOnce() -> T) -> Result<T, Panic> {
    // The process ends after a panic: nobody sees what the action left half-done.
    panic::catch_unwind(AssertUnwindSafe(action)).map_err(|payload| {
        let message = text(&*payload);
        let noted = LATEST.with(RefCell::take);
        let panic = match noted {
            // An earlier panic that the function caught itself must not lend its place to this one.
            Some(noted) if noted.message == message => noted,
            _ => Panic { message: message.to_owned(), location: None },
        };
        // A payload is the user's value: if its destructor panics too, there is nothing left to report it to.
        std::mem::forget(payload);
        panic
    })
}

/// The text of a payload, as the standard hook prints it.
fn text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "Box<dyn Any>"
    }
}
