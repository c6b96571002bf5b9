//! What the client says first: the URL it connects to, and the authentication.

use std::fmt;

use everwire_engine::Message;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

use crate::state::AuthenticationError;

/// How a user authenticates.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum AuthType {
    /// With a signed token.
    #[default]
    Jwt,
    /// Not at all.
    Anonymous,
}

/// The URL to connect to: `base` with the path `/connect` and Stream's query. Values are escaped.
///
/// ```
/// use everwire_client::stream::{AuthType, connect_url};
/// assert_eq!(
///     connect_url("wss://video.example/api", "key", AuthType::Jwt, "my app/1.0"),
///     "wss://video.example/api/connect?api_key=key&stream-auth-type=jwt&X-Stream-Client=my%20app%2F1.0",
/// );
/// ```
pub fn connect_url(base: &str, api_key: &str, auth_type: AuthType, client: &str) -> String {
    let base = base.trim_end_matches('/');
    let base = base.strip_suffix("/connect").unwrap_or(base);
    let auth_type = match auth_type {
        AuthType::Jwt => "jwt",
        AuthType::Anonymous => "anonymous",
    };
    let (api_key, client) = (Escaped(api_key), Escaped(client));
    format!("{base}/connect?api_key={api_key}&stream-auth-type={auth_type}&X-Stream-Client={client}")
}

/// All but the unreserved characters of [RFC 3986 §2.3](https://www.rfc-editor.org/rfc/rfc3986#section-2.3).
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                write!(f, "{}", char::from(byte))
            }
            _ => write!(f, "%{byte:02X}"),
        })
    }
}

/// The first frame: who the user is, with what token, and for which products. What is not set is left out.
///
/// ```
/// use everwire_client::stream::{AuthenticationRequest, UserDetails};
/// let request = AuthenticationRequest::new("jwt-123", UserDetails::new("user-7").name("Seven")).product("video");
/// assert_eq!(
///     request.to_message().as_text(),
///     Some(r#"{"products":["video"],"token":"jwt-123","user_details":{"id":"user-7","name":"Seven"}}"#),
/// );
/// assert!(!format!("{request:?}").contains("jwt-123"));
/// ```
#[derive(Clone, Serialize)]
pub struct AuthenticationRequest {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    products: Vec<String>,
    token: String,
    user_details: UserDetails,
}

impl AuthenticationRequest {
    /// A request with a token, for a user.
    pub fn new(token: impl Into<String>, user_details: UserDetails) -> Self {
        Self { products: Vec::new(), token: token.into(), user_details }
    }

    /// For one product more, `chat` or `video`.
    #[must_use]
    pub fn product(mut self, product: impl Into<String>) -> Self {
        self.products.push(product.into());
        self
    }

    /// The message to send.
    #[expect(clippy::missing_panics_doc, reason = "it does not")]
    pub fn to_message(&self) -> Message {
        serde_json::to_string(self).expect("strings, and values that were serialized already").into()
    }
}

impl fmt::Debug for AuthenticationRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthenticationRequest")
            .field("products", &self.products)
            .field("user_details", &self.user_details)
            .finish_non_exhaustive()
    }
}

/// What the server shall know of the user. What is not set stays as the server has it.
#[derive(Clone, Serialize)]
pub struct UserDetails {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invisible: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    custom: Vec<(String, Value)>,
}

impl UserDetails {
    /// A user with an id.
    pub fn new(id: impl Into<String>) -> Self {
        let (name, image, language, invisible, custom) = (None, None, None, None, Vec::new());
        Self { id: id.into(), name, image, language, invisible, custom }
    }

    /// With a name to show.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// With the URL of a picture.
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// With a language, by its ISO 639-1 code.
    #[must_use]
    pub fn language(mut self, language: impl Into<String>) -> Self {
        self.language = Some(language.into());
        self
    }

    /// Whether the user is shown as offline.
    #[must_use]
    pub const fn invisible(mut self, invisible: bool) -> Self {
        self.invisible = Some(invisible);
        self
    }

    /// With a field of the application's own.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn custom(
        mut self,
        field: impl Into<String>,
        value: impl Serialize,
    ) -> Result<Self, AuthenticationError> {
        let value = serde_json::to_value(value).map_err(AuthenticationError::failed)?;
        self.custom.push((field.into(), value));
        Ok(self)
    }
}

impl fmt::Debug for UserDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserDetails").field("id", &self.id).finish_non_exhaustive()
    }
}

/// In the order in which the fields were given.
fn as_map<S: Serializer>(fields: &[(String, Value)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(fields.len()))?;
    fields.iter().try_for_each(|(field, value)| map.serialize_entry(field, value))?;
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_7_the_first_frame_to_the_byte() {
        let user = UserDetails::new("user-7")
            .name("Seven")
            .image("https://images.example/7.png")
            .language("en")
            .invisible(false)
            .custom("role", "admin")
            .unwrap();
        let request = AuthenticationRequest::new("jwt-123", user).product("chat").product("video");
        let golden = r#"{"products":["chat","video"],"token":"jwt-123","user_details":{"id":"user-7","name":"Seven","image":"https://images.example/7.png","language":"en","invisible":false,"custom":{"role":"admin"}}}"#;
        assert_eq!(request.to_message(), golden.into());
    }

    #[test]
    fn rule_7_unset_fields_are_omitted_and_texts_escaped() {
        let request = AuthenticationRequest::new("t\"", UserDetails::new("ü\n"));
        assert_eq!(request.to_message(), r#"{"token":"t\"","user_details":{"id":"ü\n"}}"#.into());
    }

    #[test]
    fn rule_7_the_connect_url_escapes_what_it_is_given() {
        assert_eq!(
            connect_url("wss://h/", "K&x=1", AuthType::Anonymous, "a b/ü"),
            "wss://h/connect?api_key=K%26x%3D1&stream-auth-type=anonymous&X-Stream-Client=a%20b%2F%C3%BC"
        );
        assert!(
            connect_url("wss://h/v2/connect", "k", AuthType::Jwt, "")
                .starts_with("wss://h/v2/connect?api_key=k&")
        );
    }

    #[test]
    fn a_token_is_never_printed() {
        let request = AuthenticationRequest::new("s3cret", UserDetails::new("u").name("s3cret"));
        assert!(!format!("{request:?}").contains("s3cret"));
    }

    #[test]
    fn a_custom_value_that_is_no_json_is_refused_when_given() {
        let odd = std::collections::HashMap::from([((1, 2), 3)]);
        assert!(UserDetails::new("u").custom("odd", odd).is_err());
    }
}
