//! Derives.
use proc_macro::TokenStream;
/// x
#[proc_macro_derive(RealtimeResource, attributes(realtime, diesel))]
pub fn a(_: TokenStream) -> TokenStream { TokenStream::new() }
/// x
#[proc_macro_derive(RealtimeResourceActix, attributes(realtime, diesel))]
pub fn b(_: TokenStream) -> TokenStream { TokenStream::new() }
/// x
#[proc_macro_derive(RealtimeEnum, attributes(realtime))]
pub fn c(_: TokenStream) -> TokenStream { TokenStream::new() }
/// x
#[proc_macro_derive(RealtimeEnumActix, attributes(realtime))]
pub fn d(_: TokenStream) -> TokenStream { TokenStream::new() }
