//! The responses that tell whether a token was refused.

use http::{Extensions, StatusCode};

/// A response whose status can be read: `http::Response` of any body and, with the feature
/// `reqwest`, `reqwest::Response`. Sealed.
pub trait HttpResponse: sealed::Sealed {
    #[doc(hidden)]
    fn status(&self) -> StatusCode;

    #[doc(hidden)]
    fn extensions(&self) -> &Extensions;

    #[doc(hidden)]
    fn extensions_mut(&mut self) -> &mut Extensions;
}

impl<B> HttpResponse for http::Response<B> {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn extensions(&self) -> &Extensions {
        self.extensions()
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions_mut()
    }
}

#[cfg(feature = "reqwest")]
impl HttpResponse for reqwest::Response {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn extensions(&self) -> &Extensions {
        self.extensions()
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions_mut()
    }
}

mod sealed {
    #[allow(unnameable_types, reason = "sealed")]
    pub trait Sealed {}

    impl<B> Sealed for http::Response<B> {}

    #[cfg(feature = "reqwest")]
    impl Sealed for reqwest::Response {}
}
