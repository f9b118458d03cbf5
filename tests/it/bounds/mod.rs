//! What has to stay within its bounds however much comes, and however long: a gateway that is a process of its
//! own, in front of it everything that callers do.

mod load;
mod request_ids;
mod steady;

const MIB: u64 = 1 << 20;

/// The settings of an app, `shop`, whose Easemob is at this URL; what follows is in its section.
fn app(url: &str) -> String {
    format!(
        "[apps.shop]\nbase_url = '{url}'\norg_name = 'sandbox'\napp_name = 'demo'\n\
         client_id = 'sandbox-client-id'\nclient_secret_env = 'SECRET'\n"
    )
}

const SECRET: [(&str, &str); 1] = [("SECRET", "sandbox-client-secret")];
