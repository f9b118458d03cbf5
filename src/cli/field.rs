//! Fields of the contract → the options that set them, so that an error speaks of what was typed.

/// Fields, and the option or argument that sets each.
pub(super) type Table = &'static [(&'static str, &'static str)];

/// Of a message, without `message.`, and of the header of its upload.
pub(super) const SEND: Table = &[
    ("app", "--app"),
    ("request_id", "--request-id"),
    ("resend_maybe_sent", "--resend-maybe-sent"),
    ("from_user_id", "--from"),
    ("users.user_ids", "--to"),
    ("groups.group_ids", "--group"),
    ("groups.member_ids", "--member"),
    ("groups.need_read_receipt", "--read-receipt"),
    ("chatrooms.chatroom_ids", "--chatroom"),
    ("chatrooms.member_ids", "--member"),
    ("chatrooms.priority", "--priority"),
    ("ext_json", "--ext"),
    ("silent", "--silent"),
    ("sync_device", "--sync-device"),
    ("route_type", "--online-only"),
    ("roam_ignore_user_ids", "--roam-ignore"),
    ("env", "--env"),
    ("text.text", "TEXT"),
    ("image.file.url", "--url"),
    ("image.file.uuid", "--uuid"),
    ("image.file.secret", "--secret"),
    ("image.filename", "--filename"),
    ("image.width", "--width"),
    ("image.height", "--height"),
    ("audio.file.url", "--url"),
    ("audio.file.uuid", "--uuid"),
    ("audio.file.secret", "--secret"),
    ("audio.filename", "--filename"),
    ("audio.duration_seconds", "--duration"),
    ("video.file.url", "--url"),
    ("video.file.uuid", "--uuid"),
    ("video.file.secret", "--secret"),
    ("video.filename", "--filename"),
    ("video.thumbnail.url", "--thumbnail-url"),
    ("video.thumbnail.uuid", "--thumbnail-uuid"),
    ("video.thumbnail.secret", "--thumbnail-secret"),
    ("video.duration_seconds", "--duration"),
    ("video.size_bytes", "--size-bytes"),
    ("file.file.url", "--url"),
    ("file.file.uuid", "--uuid"),
    ("file.file.secret", "--secret"),
    ("file.filename", "--filename"),
    ("location.latitude", "--latitude"),
    ("location.longitude", "--longitude"),
    ("location.address", "ADDRESS"),
    ("command.action", "ACTION"),
    ("custom.event", "EVENT"),
    ("custom.attributes", "--attribute"),
    ("upload.content_type", "--content-type"),
    ("upload.restrict_access", "--restrict-access"),
    ("upload.thumbnail_width", "--thumbnail-width"),
    ("upload.thumbnail_height", "--thumbnail-height"),
];

/// Of the header of an upload.
pub(super) const UPLOAD: Table = &[
    ("app", "--app"),
    ("filename", "--filename"),
    ("upload.content_type", "--content-type"),
    ("upload.restrict_access", "--restrict-access"),
    ("upload.thumbnail_width", "--thumbnail-width"),
    ("upload.thumbnail_height", "--thumbnail-height"),
];

/// Of a download.
pub(super) const DOWNLOAD: Table = &[
    ("app", "--app"),
    ("file.uuid", "UUID"),
    ("file.secret", "--secret"),
    ("thumbnail", "--thumbnail"),
];

/// The option that sets a field, and which of its values where it takes several; the field's own path
/// where there is no such option.
pub(super) fn option(path: &str, table: Table) -> String {
    let inner = path.strip_prefix("header.").unwrap_or(path);
    let inner = inner.strip_prefix("message.").unwrap_or(inner);
    let found = table.iter().find_map(|(field, option)| {
        let rest = inner.strip_prefix(field)?;
        (rest.is_empty() || rest.starts_with(['[', '.'])).then_some((*option, rest))
    });
    match found {
        None => path.to_owned(),
        Some((option, rest)) => match index(rest) {
            // People count from one.
            Some(index) => format!("{option} (value {})", index.saturating_add(1)),
            None => option.to_owned(),
        },
    }
}

/// `[3]` → 3
fn index(rest: &str) -> Option<usize> {
    rest.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Args as _;
    use prost::Message as _;
    use prost_types::{DescriptorProto, FileDescriptorSet};

    use super::*;
    use crate::{
        cli::{download, send, upload},
        proto::FILE_DESCRIPTOR_SET,
    };

    /// Paths of the fields that hold values, below a message of the contract.
    fn leaves(messages: &[DescriptorProto], name: &str, path: &str, found: &mut BTreeSet<String>) {
        let message = messages.iter().find(|message| message.name() == name);
        for field in &message.unwrap().field {
            let path = match path {
                "" | "message." => field.name().to_owned(),
                _ => format!("{path}{}", field.name()),
            };
            let kind = field.type_name().strip_prefix(".easemob.messaging.v1.");
            match kind.filter(|kind| messages.iter().any(|message| message.name() == *kind)) {
                Some(kind) => leaves(messages, kind, &format!("{path}."), found),
                None => drop(found.insert(path)),
            }
        }
    }

    /// The same of a message of the contract.
    fn fields(name: &str) -> BTreeSet<String> {
        let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
        let ours = files
            .into_iter()
            .filter(|file| file.package() == "easemob.messaging.v1");
        let messages: Vec<_> = ours.flat_map(|file| file.message_type).collect();
        let mut fields = BTreeSet::new();
        leaves(&messages, name, "", &mut fields);
        fields
    }

    fn told(table: Table) -> BTreeSet<String> {
        table.iter().map(|(field, _)| (*field).to_owned()).collect()
    }

    #[test]
    fn every_field_of_the_requests_has_an_option_and_every_option_a_field() {
        let mut send = fields("SendMessageRequest");
        send.extend(fields("MediaHeader"));
        // The same as ext_json, for callers with a type for it.
        assert!(send.remove("ext"));
        // The files tell these; a video's thumbnail has the access of the video.
        send.retain(|field| !field.starts_with("thumbnail_upload."));
        assert!(send.remove("upload.size_bytes"));
        assert_eq!(told(SEND), send);

        let mut upload = fields("UploadFileHeader");
        assert!(upload.remove("upload.size_bytes"));
        assert_eq!(told(UPLOAD), upload);

        let mut download = fields("DownloadFileRequest");
        // What is not at Easemob is not downloaded from there.
        assert!(download.remove("file.url"));
        assert_eq!(told(DOWNLOAD), download);
    }

    fn has(command: &clap::Command, option: &str) -> bool {
        command.get_arguments().any(|arg| match arg.get_long() {
            Some(long) => option == format!("--{long}"),
            None => option == arg.get_id().as_str().to_uppercase(),
        })
    }

    #[test]
    fn the_options_of_the_tables_are_those_of_the_commands() {
        let command = send::Args::augment_args(clap::Command::new("send"));
        for (field, option) in SEND {
            let first = field.split('.').next().unwrap();
            let mut contents: Vec<_> = command.get_subcommands().collect();
            if contents.iter().any(|content| content.get_name() == first) {
                contents.retain(|content| content.get_name() == first);
            }
            if first == "upload" {
                // Easemob makes thumbnails of images alone.
                contents.retain(|content| match option.contains("thumbnail") {
                    true => content.get_name() == "image",
                    false => ["image", "audio", "video", "file"].contains(&content.get_name()),
                });
            }
            for content in contents {
                assert!(
                    has(content, option),
                    "{} has no {option}",
                    content.get_name()
                );
            }
        }
        let upload = upload::Args::augment_args(clap::Command::new("upload"));
        let download = download::Args::augment_args(clap::Command::new("download"));
        for (command, table) in [(upload, UPLOAD), (download, DOWNLOAD)] {
            for (_field, option) in table {
                assert!(
                    has(&command, option),
                    "{} has no {option}",
                    command.get_name()
                );
            }
        }
    }

    #[test]
    fn a_field_is_told_as_the_option_that_sets_it() {
        for (path, told) in [
            ("message.location.latitude", "--latitude"),
            ("message.users.user_ids", "--to"),
            ("message.users.user_ids[2]", "--to (value 3)"),
            ("message.ext_json.em_ignore_notification", "--ext"),
            ("app", "--app"),
            ("message.application", "message.application"),
            ("message.video.thumbnail.url", "--thumbnail-url"),
            ("", ""),
        ] {
            assert_eq!(option(path, SEND), told, "{path}");
        }
        let inner = "header.message.image.filename";
        assert_eq!(option(inner, SEND), "--filename");
        assert_eq!(
            option("header.upload.content_type", UPLOAD),
            "--content-type"
        );
        assert_eq!(option("file.uuid", DOWNLOAD), "UUID");
    }
}
