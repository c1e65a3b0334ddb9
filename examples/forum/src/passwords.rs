//! Passwords: hashed slowly, on threads where that holds up nobody else.

use std::sync::Arc;

use actix_web::web;
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{Error as HashError, PasswordHasher as _, PasswordVerifier as _};
use realtime_actix::{Code, Error};
use tokio::sync::Semaphore;

/// Passwords that wait to be hashed or looked at, at most.
const QUEUE: usize = 256;

/// The hash of a password, with its salt and the cost of both: Argon2id as OWASP recommends it.
pub(crate) fn hash(password: &str) -> Result<String, HashError> {
    Ok(Argon2::default().hash_password(password.as_bytes())?.to_string())
}

fn verify(password: &str, hash: &str) -> Result<bool, HashError> {
    match Argon2::default().verify_password(password.as_bytes(), &PasswordHash::new(hash)?) {
        Ok(()) => Ok(true),
        Err(HashError::PasswordInvalid) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Hashes passwords, so many at a time as there are cores: each takes 19 MiB.
pub(crate) struct Passwords {
    /// The hash of a password that nobody has.
    nobodys: String,
    queue: Arc<Semaphore>,
    cores: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new() -> Result<Self, HashError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            nobodys: hash("")?,
            queue: Arc::new(Semaphore::new(QUEUE)),
            cores: Arc::new(Semaphore::new(cores)),
        })
    }

    pub(crate) async fn hash(&self, password: String) -> Result<String, Error> {
        self.run(move || hash(&password)).await
    }

    /// Is it the password? For want of a hash the answer is no, and takes as long: how long it takes does not tell
    /// whether there is such a user.
    pub(crate) async fn verify(&self, password: String, hash: Option<&str>) -> Result<bool, Error> {
        let (is_users, hash) = (hash.is_some(), hash.unwrap_or(&self.nobodys).to_owned());
        Ok(self.run(move || verify(&password, &hash)).await? && is_users)
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, HashError> + Send + 'static,
    ) -> Result<T, Error> {
        let busy = || Error::new(Code::Unavailable, "Too many people log in at once.").retry_after(1.0);
        let _place = self.queue.try_acquire().map_err(|_| busy())?;
        let core = Arc::clone(&self.cores).acquire_owned().await.map_err(|_| busy())?;
        // The permit goes along: who asked may be gone before the work is done.
        let done = web::block(move || (work(), core)).await;
        match done {
            Ok((Ok(result), _)) => Ok(result),
            Ok((Err(error), _)) => Err(fault(&error)),
            Err(error) => Err(fault(&error)),
        }
    }
}

fn fault(error: &dyn std::error::Error) -> Error {
    tracing::error!(%error, "a password could not be hashed");
    Error::internal("passwords")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn a_password_is_known_by_its_hash_and_never_without_one() {
        let passwords = Passwords::new().expect("randomness");
        let hash = passwords.hash("correct horse".into()).await.expect("a hash");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash("correct horse".into()).await.expect("another salt"));
        for (password, hash, expected) in [
            ("correct horse", Some(hash.as_str()), true),
            ("wrong horse", Some(hash.as_str()), false),
            ("correct horse", None, false),
            // Not even the password whose hash stands in for a missing one.
            ("", None, false),
        ] {
            assert_eq!(passwords.verify(password.into(), hash).await.expect("an answer"), expected);
        }
        assert!(
            passwords.verify("x".into(), Some("plain text")).await.is_err(),
            "a hash that is none is a fault"
        );
    }
}
