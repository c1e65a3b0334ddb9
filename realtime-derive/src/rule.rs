//! Reads `validate(..)` of a field: what is asked of a value beside its type.

use proc_macro2::{Ident, Span};
use syn::parse::{Parse, ParseStream};
use syn::{Expr, ExprLit, ExprUnary, Lit, LitInt, LitStr, UnOp};

use crate::attr::{assigned, flag, list, string};
use crate::errors::{Errors, listed, unknown};

/// The rules of a field, and what is said of a value that breaks one.
pub(crate) struct Validate {
    /// The option's name.
    pub(crate) key: Ident,
    pub(crate) rules: Vec<Rule>,
    /// `message = ".."`
    pub(crate) message: Option<LitStr>,
}

/// One rule, with its name.
pub(crate) struct Rule {
    pub(crate) name: Ident,
    pub(crate) kind: RuleKind,
}

pub(crate) enum RuleKind {
    /// `length(min = 1, max = 200)`
    Length { min: Option<LitInt>, max: Option<LitInt> },
    /// `range(min = 0, max = 5)`
    Range { min: Option<Bound>, max: Option<Bound> },
    /// `pattern = "^[a-z]+$"`
    Pattern(LitStr),
    /// `email`
    Email,
    /// `url`
    Url,
    /// `digits(total = 12, places = 2)`
    Digits { total: Option<LitInt>, places: Option<LitInt> },
    /// `custom = function`
    Custom(Expr),
}

/// A value that stands in an attribute.
pub(crate) struct Bound {
    pub(crate) literal: Literal,
    pub(crate) span: Span,
}

/// The variants of core's `Literal`.
pub(crate) enum Literal {
    Integer(i64),
    Float(f64),
    Decimal(String),
    Date(String),
    Time(String),
    Timestamp(String),
}

/// The names of the rules.
pub(crate) const RULES: &[&str] =
    &["length", "range", "pattern", "email", "url", "digits", "custom", "message"];

const FORM: &str = "`validate` lists what is asked of a value: `validate(length(min = 1, max = 200))`";

impl Validate {
    /// Reads what stands behind `validate`.
    pub(crate) fn read(key: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<Self> {
        let mut validate = Self { key: key.clone(), rules: Vec::new(), message: None };
        let mut seen: Vec<Ident> = Vec::new();
        list(key, input, errors, FORM, |input, errors| {
            let name: Ident =
                input.parse().map_err(|error: syn::Error| syn::Error::new(error.span(), FORM))?;
            if seen.contains(&name) && name != "custom" {
                return Err(syn::Error::new(name.span(), format!("`{name}` is given twice")));
            }
            seen.push(name.clone());
            if name == "message" {
                validate.message =
                    Some(string(&name, input, "message = \"A name has 3 to 30 characters.\"")?);
                return Ok(());
            }
            let kind = rule(&name, input, errors)?;
            validate.rules.push(Rule { name, kind });
            Ok(())
        })?;
        if seen.is_empty() {
            return Err(syn::Error::new(key.span(), FORM));
        }
        if let (Some(message), []) = (&validate.message, validate.rules.as_slice()) {
            errors.on(message, "a message is about a rule: add one, such as `length(max = 200)`");
        }
        Ok(validate)
    }
}

fn rule(name: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> syn::Result<RuleKind> {
    match name.to_string().as_str() {
        "length" => {
            let form = "`length` says how long a value is: `length(min = 1, max = 200)`";
            let [min, max] = pair(name, input, errors, form, ["min", "max"], LitInt::parse)?;
            for number in min.iter().chain(&max) {
                number.base10_parse::<usize>().map_err(|_| syn::Error::new(number.span(), form))?;
            }
            ascending(min.as_ref(), max.as_ref(), "`min` is more than `max`: no value is so long")?;
            Ok(RuleKind::Length { min, max })
        }
        "range" => {
            let form = "`range` says between which values one lies: `range(min = 0, max = 5)`";
            let [min, max] = pair(name, input, errors, form, ["min", "max"], bound)?;
            if let (Some(min), Some(max)) = (&min, &max)
                && min.literal.is_above(&max.literal)
            {
                return Err(syn::Error::new(
                    max.span,
                    "`min` is more than `max`: no value lies between them",
                ));
            }
            Ok(RuleKind::Range { min, max })
        }
        "pattern" => {
            let pattern = string(name, input, "pattern = \"^[a-z]+$\"")?;
            match regex_syntax::parse(&pattern.value()) {
                Ok(_) => Ok(RuleKind::Pattern(pattern)),
                Err(error) => {
                    let reason = match &error {
                        regex_syntax::Error::Parse(error) => error.kind().to_string(),
                        regex_syntax::Error::Translate(error) => error.kind().to_string(),
                        other => other.to_string(),
                    };
                    Err(syn::Error::new(pattern.span(), format!("not a regular expression: {reason}")))
                }
            }
        }
        "email" => flag(name, input).map(|()| RuleKind::Email),
        "url" => flag(name, input).map(|()| RuleKind::Url),
        "digits" => {
            let form = "`digits` says how many digits a decimal has: `digits(total = 12, places = 2)`";
            let [total, places] = pair(name, input, errors, form, ["total", "places"], LitInt::parse)?;
            for number in total.iter().chain(&places) {
                if number.base10_parse::<u32>().map_or(true, |number| number > 28) {
                    return Err(syn::Error::new(number.span(), "a decimal has at most 28 digits"));
                }
            }
            ascending(
                places.as_ref(),
                total.as_ref(),
                "there are fewer digits in total than behind the point",
            )?;
            Ok(RuleKind::Digits { total, places })
        }
        "custom" => {
            let form = "`custom` takes a function that says what is wrong: `custom = is_even`, for a \
                        `fn is_even(number: &i32) -> Result<(), &'static str>`";
            assigned(name, input, form, Parse::parse).map(RuleKind::Custom)
        }
        word => {
            let first = unknown("rule", word, RULES.iter().copied());
            let choices = listed(RULES.iter().copied());
            Err(syn::Error::new(name.span(), format!("{first}\n`validate` takes {choices}")))
        }
    }
}

/// Reads `(first = value, second = value)`, of which one must be there.
fn pair<T>(
    name: &Ident,
    input: ParseStream<'_>,
    errors: &mut Errors,
    form: &str,
    names: [&str; 2],
    value: fn(ParseStream<'_>) -> syn::Result<T>,
) -> syn::Result<[Option<T>; 2]> {
    let mut found = [None, None];
    let mut is_empty = true;
    list(name, input, errors, form, |input, _| {
        is_empty = false;
        let key: Ident = input.parse().map_err(|error: syn::Error| syn::Error::new(error.span(), form))?;
        let at = names.iter().position(|known| key == known).ok_or_else(|| {
            syn::Error::new(key.span(), format!("{}\n{form}", unknown("bound", &key.to_string(), names)))
        })?;
        if found[at].is_some() {
            return Err(syn::Error::new(key.span(), format!("`{key}` is given twice")));
        }
        found[at] = Some(assigned(&key, input, form, value)?);
        Ok(())
    })?;
    if is_empty { Err(syn::Error::new(name.span(), form)) } else { Ok(found) }
}

fn ascending(low: Option<&LitInt>, high: Option<&LitInt>, message: &str) -> syn::Result<()> {
    let number = |literal: &LitInt| literal.base10_parse::<usize>().ok();
    match (low.and_then(number), high) {
        (Some(least), Some(high)) if number(high).is_some_and(|most| least > most) => {
            Err(syn::Error::new(high.span(), message))
        }
        _ => Ok(()),
    }
}

/// Reads `5`, `-0.5`, or a text of a decimal, a date, a time or a timestamp.
fn bound(input: ParseStream<'_>) -> syn::Result<Bound> {
    let expression: Expr = input.parse()?;
    let span = syn::spanned::Spanned::span(&expression);
    let literal = Literal::of(&expression).ok_or_else(|| syn::Error::new(span, "not a literal"))?;
    Ok(Bound { literal, span })
}

/// An integer that is written without a type: `5` or `-5`.
pub(crate) fn plain_integer(expression: &Expr) -> Option<i64> {
    let (sign, literal) = match expression {
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => ("-", &**expr),
        other => ("", other),
    };
    let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = literal else { return None };
    if number.suffix().is_empty() { format!("{sign}{}", number.base10_digits()).parse().ok() } else { None }
}

impl Literal {
    fn of(expression: &Expr) -> Option<Self> {
        if let Some(number) = plain_integer(expression) {
            return Some(Self::Integer(number));
        }
        let (sign, literal) = match expression {
            Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => (-1.0, &**expr),
            other => (1.0, other),
        };
        match literal {
            Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) if number.suffix().is_empty() => {
                number.base10_parse::<f64>().ok().map(|number| Self::Float(sign * number))
            }
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) if sign > 0.0 => Self::of_text(text.value()),
            _ => None,
        }
    }

    fn of_text(text: String) -> Option<Self> {
        if is_decimal(&text) {
            Some(Self::Decimal(text))
        } else if is_date(&text) {
            Some(Self::Date(text))
        } else if is_time(&text) {
            Some(Self::Time(text))
        } else if is_timestamp(&text) {
            Some(Self::Timestamp(text))
        } else {
            None
        }
    }

    /// Is it certainly more than another one of its sort?
    fn is_above(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integer(low), Self::Integer(high)) => low > high,
            (Self::Float(low), Self::Float(high)) => low > high,
            // Texts of these forms are in the order of what they mean.
            (Self::Date(low), Self::Date(high)) => low > high,
            _ => false,
        }
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    all(whole) && all(part) && whole.len() + part.len() <= 28
}

/// The number in a part of a text that has so many digits.
fn number(text: Option<&str>, digits: usize) -> Option<u32> {
    let text = text.filter(|text| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))?;
    text.parse().ok()
}

fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let (year, month, day) = (number(parts.next(), 4), number(parts.next(), 2), number(parts.next(), 2));
    let (Some(year), Some(month), Some(day), None) = (year, month, day, parts.next()) else { return false };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day)
}

fn is_time(text: &str) -> bool {
    let (text, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let mut parts = text.split(':');
    let [hour, minute, second] = [(); 3].map(|()| number(parts.next(), 2));
    let in_range = |part: Option<u32>, most: u32| part.is_some_and(|part| part <= most);
    in_range(hour, 23)
        && in_range(minute, 59)
        && in_range(second, 59)
        && parts.next().is_none()
        && (1..=6).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
}

/// In UTC: `2026-01-31T12:30:00Z`
fn is_timestamp(text: &str) -> bool {
    let parts = text.strip_suffix('Z').and_then(|text| text.split_once('T'));
    parts.is_some_and(|(date, time)| is_date(date) && is_time(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_by_its_form() {
        let form = |text: &str| match Literal::of_text(text.to_owned()) {
            Some(Literal::Decimal(_)) => "decimal",
            Some(Literal::Date(_)) => "date",
            Some(Literal::Time(_)) => "time",
            Some(Literal::Timestamp(_)) => "timestamp",
            _ => "none",
        };
        for (text, expected) in [
            ("12.50", "decimal"),
            ("-1", "decimal"),
            ("1e5", "none"),
            ("1.", "none"),
            ("2026-01-31", "date"),
            ("2026-02-29", "none"),
            ("2024-02-29", "date"),
            ("2026-13-01", "none"),
            ("08:00:00", "time"),
            ("08:00:00.5", "time"),
            ("24:00:00", "none"),
            ("08:00", "none"),
            ("2026-01-31T08:00:00Z", "timestamp"),
            ("2026-01-31T08:00:00", "none"),
            ("", "none"),
        ] {
            assert_eq!(form(text), expected, "{text}");
        }
    }
}
