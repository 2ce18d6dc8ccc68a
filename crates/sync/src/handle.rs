//! What all handles of this crate are: a [`Role`](shmkit_segment::Role) of a segment that holds one object, counted while it exists, so that it can be cloned and passed to other
//! processes.

/// Gives a handle, which has a field `member` and is made of it by `with`, what handles have in common.
macro_rules! handle {
    ($name:ident $(<$generic:ident: $bound:path>)?, $object:ty) => {
        impl $(<$generic: $bound>)? $name $(<$generic>)? {
            /// A handle of what is in `segment`: for those that were found by a name, in a file or in an embedder's memory (see
            /// [`Options`](shmkit_segment::Options)). What was just created is all zero.
            #[must_use]
            pub fn of(segment: &std::sync::Arc<shmkit_segment::Segment<$object>>) -> Self {
                Self::with(segment.role(0))
            }

            /// The segment that it is in: who is attached to it, and who of them has died.
            #[must_use]
            pub fn segment(&self) -> &std::sync::Arc<shmkit_segment::Segment<$object>> {
                self.member.segment()
            }

            #[inline]
            fn object(&self) -> &$object {
                self.member.segment().object()
            }
        }

        impl $(<$generic: $bound>)? Clone for $name $(<$generic>)? {
            fn clone(&self) -> Self {
                Self::with(self.member.clone())
            }
        }

        impl $(<$generic: $bound>)? std::fmt::Debug for $name $(<$generic>)? {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        impl $(<$generic: $bound>)? serde::Serialize for $name $(<$generic>)? {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.member.serialize(serializer)
            }
        }

        impl<'de $(, $generic: $bound)?> serde::Deserialize<'de> for $name $(<$generic>)? {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                shmkit_segment::Role::deserialize(deserializer).map(Self::with)
            }
        }
    };
}

pub(crate) use handle;

/// The four forms of taking a lock, made of three steps: `$take`, which never blocks, and `$wait`, which blocks until a deadline, give the lock's word as it was found; `$hold` makes a guard of it.
macro_rules! lock_forms {
    (
        $guard:ident<$generic:ident>, $take:ident, $wait:ident, $hold:ident;
        $try_lock:ident, $lock:ident, $lock_timeout:ident, $lock_deadline:ident; $cost:literal
    ) => {
        #[doc = concat!("[`", stringify!($lock), "`](Self::", stringify!($lock), ") without blocking. ", $cost)]
        ///
        /// # Errors
        /// [`TryLockError::Locked`] if somebody is in the way; [`TryLockError::OwnerDied`] with the guard if the last one to change something was killed with
        /// the lock; [`TryLockError::Forked`].
        #[inline]
        pub fn $try_lock(&self) -> Result<$guard<'_, $generic>, TryLockError<$guard<'_, $generic>>> {
            if self.segment().is_defunct() {
                return Err(TryLockError::Forked);
            }
            let word = self.$take().ok_or(TryLockError::Locked)?;
            if word & DIED == 0 { Ok(self.$hold(word)) } else { Err(TryLockError::OwnerDied(self.$hold(word))) }
        }

        #[doc = concat!("Locks, and blocks until that is possible. ", $cost)]
        ///
        /// # Errors
        /// [`LockError::OwnerDied`] with the guard if the last one to change something was killed with the lock; [`LockError::Forked`].
        #[inline]
        pub fn $lock(&self) -> Result<$guard<'_, $generic>, LockError<$guard<'_, $generic>>> {
            if self.segment().is_defunct() {
                return Err(LockError::Forked);
            }
            let word = loop {
                if let Some(word) = self.$take().or_else(|| self.$wait(Deadline::NEVER)) {
                    break word;
                }
            };
            if word & DIED == 0 { Ok(self.$hold(word)) } else { Err(LockError::OwnerDied(self.$hold(word))) }
        }

        #[doc = concat!("[`", stringify!($lock), "`](Self::", stringify!($lock), "), blocking for at most `timeout`.")]
        ///
        /// # Errors
        #[doc = concat!("[`LockTimeoutError::Timeout`]; otherwise as [`", stringify!($lock), "`](Self::", stringify!($lock), ").")]
        pub fn $lock_timeout(
            &self,
            timeout: std::time::Duration,
        ) -> Result<$guard<'_, $generic>, LockTimeoutError<$guard<'_, $generic>>> {
            if self.segment().is_defunct() {
                return Err(LockTimeoutError::Forked);
            }
            let word = self.$take().or_else(|| self.$wait(Deadline::after(timeout)));
            let word = word.ok_or(LockTimeoutError::Timeout)?;
            if word & DIED == 0 { Ok(self.$hold(word)) } else { Err(LockTimeoutError::OwnerDied(self.$hold(word))) }
        }

        #[doc = concat!("[`", stringify!($lock), "`](Self::", stringify!($lock), "), blocking until `deadline` at the latest.")]
        ///
        /// # Errors
        #[doc = concat!("As [`", stringify!($lock_timeout), "`](Self::", stringify!($lock_timeout), ").")]
        pub fn $lock_deadline(
            &self,
            deadline: std::time::Instant,
        ) -> Result<$guard<'_, $generic>, LockTimeoutError<$guard<'_, $generic>>> {
            self.$lock_timeout(deadline.saturating_duration_since(std::time::Instant::now()))
        }
    };
}

pub(crate) use lock_forms;
