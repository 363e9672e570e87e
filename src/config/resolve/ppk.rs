//! What `peer.ike.ppk` means.

use std::path::Path;

use secure_gre_ike::config::Ppk;

use super::super::diagnostic::Diagnostic;
use super::super::schema::PpkKeys;
use super::super::secret::read_ppk;
use super::given;

/// The longest name: that of an identity in IKE fits.
const MAX_ID_OCTETS: usize = 255;

pub(super) fn ppk(file: &Path, keys: &PpkKeys, findings: &mut Vec<Diagnostic>) -> Option<Ppk> {
    let span = keys.span.clone()?;
    let missing = |name: &str, help: &str| {
        Diagnostic::error(format!("`peer.ike.ppk.{name}` is missing"))
            .at(span.clone())
            .help(format!(
                "write ppk = {{ id = \"…\", file = \"…\" }}: {help}"
            ))
    };
    let Some(id) = &keys.id else {
        findings.push(missing("id", "what both ends call the key"));
        return None;
    };
    let Some(typed) = &keys.file else {
        findings.push(missing("file", "a file with the key, of mode 600"));
        return None;
    };
    if id.get_ref().is_empty() || id.get_ref().len() > MAX_ID_OCTETS {
        let problem = Diagnostic::error("`peer.ike.ppk.id` must have 1 to 255 octets");
        findings.push(problem.at(id.span()));
        return None;
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    match read_ppk(&folder.join(typed.get_ref())) {
        Ok(key) => {
            findings.extend(key.warning.map(|warning| warning.at(typed.span())));
            Some(Ppk {
                id: id.get_ref().clone(),
                secret: key.secret,
                required: given(keys.required.as_ref()).unwrap_or(false),
            })
        }
        Err(problem) => {
            findings.push(problem.at(typed.span()));
            None
        }
    }
}
