//! Stream's error object, wherever it occurs.

use serde_json::Value;

use crate::state::ApiError;

impl ApiError {
    /// The error object in the JSON body of a refused upgrade, if there is one: the object itself, which must
    /// have a code then, or inside a field `error`. Fields that are missing or odd are passed over.
    ///
    /// ```
    /// use everwire_client::ApiError;
    /// let error = ApiError::from_json(br#"{"code":2,"StatusCode":401,"message":"api_key not valid"}"#);
    /// assert_eq!(error.unwrap().code, 2);
    /// assert_eq!(ApiError::from_json(b"<html>502</html>"), None);
    /// ```
    pub fn from_json(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        match value.get("error") {
            Some(error) if error.is_object() => Some(Self::from_value(error)),
            _ => value.get("code").and_then(integer).map(|_| Self::from_value(&value)),
        }
    }

    pub(super) fn from_value(error: &Value) -> Self {
        let status = error.get("StatusCode").and_then(integer).and_then(|status| u16::try_from(status).ok());
        Self {
            code: error.get("code").and_then(integer).unwrap_or_default(),
            status,
            message: error.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
            unrecoverable: error.get("unrecoverable").and_then(Value::as_bool).unwrap_or_default(),
            ..Self::default()
        }
    }
}

/// A number, also as a string or with a fraction of zero, as some encoders write it.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| {
            let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15)?;
            Some(float as i64)
        }),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_7_a_failed_upgrade_may_carry_the_same_object_as_its_body() {
        let bare = ApiError::from_json(br#"{"code":40,"StatusCode":401,"message":"m","unrecoverable":true}"#);
        assert_eq!(bare, Some(ApiError::new(40, "m").with_status(401).unrecoverable()));
        let nested = ApiError::from_json(br#"{"type":"connection.error","error":{"code":40.0}}"#);
        assert_eq!(nested.map(|error| error.code), Some(40));
        for body in [&b""[..], b"[]", b"{}", b"not found", b"\xff", br#"{"code":{}}"#, br#"{"error":"x"}"#] {
            assert_eq!(ApiError::from_json(body), None);
        }
    }

    #[test]
    fn numbers_out_of_range_are_passed_over() {
        let error = ApiError::from_json(br#"{"code":1,"StatusCode":99999999}"#).unwrap();
        assert_eq!(error.status, None);
        assert_eq!(ApiError::from_json(br#"{"code":1e300}"#), None);
    }
}
