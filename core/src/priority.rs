//! Semantic priority: what a person would miss most is safe first.
//!
//! A file's [`Class`] comes from its name by [`RULES`], or, where the name says nothing, from its first bytes by
//! [`MAGIC`]. Within a class a job runs small files first. Both tables are meant to be read and argued about; a
//! snapshot test prints them.

use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// How early a file is handled; lower runs first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Class {
    /// Small and hard to make again: keys, configuration, manifests, databases.
    Critical = 0,
    /// What people write: documents, notes, source code.
    Document = 1,
    /// Everything that no rule names.
    #[default]
    Ordinary = 2,
    /// Pictures, sound, video.
    Media = 3,
    /// Large and at rest: archives, disk and machine images, models, data sets.
    Bulk = 4,
}

/// One line of the table: names and extensions that belong to a class, and what they are.
pub struct Rule {
    /// The class.
    pub class: Class,
    /// What these are.
    pub what: &'static str,
    /// Whole names, lower case, up to 16 bytes.
    pub names: &'static [&'static str],
    /// Extensions without the point, lower case, up to 16 bytes.
    pub extensions: &'static [&'static str],
}

const fn rule(
    class: Class,
    what: &'static str,
    names: &'static [&'static str],
    extensions: &'static [&'static str],
) -> Rule {
    Rule { class, what, names, extensions }
}

/// The table for names. A whole name beats an extension; a name that only begins with a point (`.profile`) and that no
/// rule names is configuration.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    rule(Class::Critical, "keys, certificates and password stores",
        &["authorized_keys", "known_hosts", "id_rsa", "id_ecdsa", "id_ed25519", "id_dsa", "shadow", "wallet.dat"],
        &["pem", "key", "crt", "cer", "csr", "p12", "pfx", "jks", "gpg", "asc", "pgp", "age", "kdbx", "kdb", "ovpn",
          "ppk", "keytab", "wallet", "sig"]),
    rule(Class::Critical, "configuration",
        &["fstab", "crontab", "hosts", "passwd", "group", "sudoers", "config", "exports"],
        &["conf", "cfg", "cnf", "ini", "toml", "yaml", "yml", "json", "json5", "jsonc", "env", "properties", "plist",
          "reg", "service", "timer", "mount", "network", "netdev", "rules", "tf", "tfvars", "tfstate", "nix", "hcl",
          "local", "config"]),
    rule(Class::Critical, "manifests, build files and lock files",
        &["makefile", "gnumakefile", "dockerfile", "containerfile", "jenkinsfile", "vagrantfile", "gemfile",
          "rakefile", "procfile", "cmakelists.txt", "requirements.txt", "go.mod", "go.sum", "go.work", "build",
          "workspace", "kconfig", "pkgbuild", "codeowners"],
        &["lock", "gradle", "mk", "bzl", "bazel", "csproj", "sln", "vcxproj", "gemspec", "podspec", "cabal", "spec",
          "manifest", "torrent", "sha256", "sha512", "md5"]),
    rule(Class::Critical, "databases and their journals",
        &[],
        &["db", "db3", "sqlite", "sqlite3", "sqlitedb", "db-wal", "db-shm", "db-journal", "sqlite-wal", "sqlite-shm",
          "sqlite-journal", "sqlite3-wal", "sqlite3-shm", "wal", "redb", "mdb", "accdb", "dbf", "fdb", "ibd", "frm",
          "myd", "myi", "ldb", "sst", "rdb", "aof", "sql", "dump", "ldif", "kmy", "gnucash"]),
    rule(Class::Document, "office documents and books",
        &[],
        &["doc", "docx", "docm", "dot", "dotx", "odt", "ott", "rtf", "pages", "xls", "xlsx", "xlsm", "xlsb", "ods",
          "numbers", "csv", "tsv", "ppt", "pptx", "pptm", "odp", "keynote", "odg", "vsd", "vsdx", "one", "pdf", "ps",
          "epub", "mobi", "azw3", "djvu"]),
    rule(Class::Document, "text and notes",
        &["readme", "license", "licence", "copying", "changelog", "changes", "news", "authors", "todo", "notice",
          "install", "version"],
        &["txt", "md", "markdown", "mdx", "rst", "adoc", "org", "tex", "bib", "xml", "html", "htm", "xhtml", "css",
          "scss", "less", "svg", "diff", "patch", "po", "pot", "srt", "vtt", "ass"]),
    rule(Class::Document, "mail, contacts and calendars",
        &["inbox"],
        &["eml", "emlx", "mbox", "msg", "pst", "ost", "vcf", "ics", "ldi"]),
    rule(Class::Document, "source code and scripts",
        &["configure", "gradlew"],
        &["rs", "c", "h", "cc", "cpp", "cxx", "hh", "hpp", "hxx", "m", "mm", "swift", "go", "zig", "d", "java", "kt",
          "kts", "scala", "groovy", "clj", "cs", "fs", "vb", "py", "pyi", "ipynb", "rb", "pl", "pm", "php", "lua",
          "tcl", "r", "jl", "hs", "ml", "mli", "ex", "exs", "erl", "el", "lisp", "scm", "js", "mjs", "cjs", "jsx",
          "ts", "tsx", "vue", "svelte", "sh", "bash", "zsh", "fish", "ps1", "psm1", "bat", "cmd", "awk", "sed", "s",
          "asm", "f", "f90", "f95", "pas", "ada", "adb", "ads", "v", "sv", "vhdl", "cu", "cl", "glsl", "proto",
          "graphql", "thrift", "cmake", "in", "am", "ac", "m4", "y", "l", "dts", "dtsi", "ino"]),
    rule(Class::Document, "drawings, models and projects people make",
        &[],
        &["dwg", "dxf", "step", "stp", "iges", "igs", "fcstd", "f3d", "scad", "stl", "3mf", "blend", "kra", "xcf",
          "psd", "ai", "indd", "afdesign", "afphoto", "sketch", "fig", "drawio", "gpx", "kml", "als", "flp", "rpp",
          "mscz", "prproj", "kdenlive", "xmp", "lrcat"]),
    rule(Class::Ordinary, "programs and what is built from source",
        &[],
        &["o", "obj", "a", "lib", "so", "dll", "dylib", "exe", "bin", "ko", "com", "sys", "class", "pyc", "pyo",
          "rlib", "rmeta", "wasm", "elf", "pdb", "map", "ttf", "otf", "woff", "woff2", "mo"]),
    rule(Class::Ordinary, "logs, caches and leftovers",
        &["thumbs.db", ".ds_store", "desktop.ini"],
        &["log", "tmp", "temp", "cache", "bak", "old", "orig", "swp", "swo", "part", "crdownload", "pid", "core"]),
    rule(Class::Media, "pictures",
        &[],
        &["jpg", "jpeg", "jpe", "jfif", "png", "gif", "bmp", "tif", "tiff", "webp", "avif", "heic", "heif", "jxl",
          "jp2", "ico", "icns", "tga", "exr", "hdr", "dds", "ppm", "pgm", "raw", "dng", "cr2", "cr3", "crw", "nef",
          "nrw", "arw", "orf", "rw2", "raf", "pef", "srw"]),
    rule(Class::Media, "sound",
        &[],
        &["mp3", "flac", "ogg", "oga", "opus", "m4a", "m4b", "aac", "wav", "wave", "aif", "aiff", "wma", "ape", "alac",
          "wv", "mid", "midi", "amr", "dsf", "dff", "ac3", "dts-hd", "mka", "sf2"]),
    rule(Class::Media, "video",
        &[],
        &["mp4", "m4v", "mkv", "webm", "avi", "mov", "qt", "wmv", "flv", "f4v", "mpg", "mpeg", "mpe", "m2ts", "mts",
          "m2v", "vob", "ogv", "ogm", "3gp", "3g2", "rm", "rmvb", "asf", "mxf", "braw", "r3d"]),
    rule(Class::Bulk, "archives and packages",
        &[],
        &["zip", "tar", "gz", "tgz", "bz2", "tbz", "tbz2", "xz", "txz", "zst", "tzst", "lz4", "lzma", "lz", "br", "z",
          "7z", "rar", "cab", "arj", "cpio", "ar", "deb", "rpm", "apk", "ipa", "msi", "pkg", "snap", "flatpak",
          "appimage", "jar", "war", "ear", "whl", "crate", "gem", "nupkg", "pack", "bundle", "pak", "wad", "cbz",
          "cbr", "squashfs", "sfs", "erofs", "sar", "par2", "pbf", "dar", "borg"]),
    rule(Class::Bulk, "disk and machine images",
        &[],
        &["iso", "img", "ima", "dmg", "nrg", "mdf", "cue", "toast", "vhd", "vhdx", "vmdk", "vdi", "qcow", "qcow2",
          "qed", "hdd", "ova", "ovf", "wim", "esd", "swm", "vmem", "vmsn", "vmss", "vma", "sparseimage",
          "sparsebundle", "hc", "tc", "luks", "chd", "rom", "nsp", "xci", "wbfs", "tib", "vbk", "gho", "dd"]),
    rule(Class::Bulk, "models, data sets and captures",
        &[],
        &["safetensors", "gguf", "ggml", "onnx", "pt", "pth", "ckpt", "h5", "hdf5", "nc", "npy", "npz", "parquet",
          "orc", "avro", "arrow", "feather", "tfrecord", "mat", "fits", "las", "laz", "e57", "bam", "cram", "fastq",
          "fq", "dcm", "nii", "pcap", "pcapng", "sas7bdat", "dta"]),
];

/// What the first bytes of a file say: these bytes at this offset.
pub struct Magic {
    /// The class.
    pub class: Class,
    /// What it is.
    pub what: &'static str,
    /// Where the bytes stand.
    pub offset: usize,
    /// The bytes.
    pub bytes: &'static [u8],
}

const fn magic(class: Class, what: &'static str, offset: usize, bytes: &'static [u8]) -> Magic {
    Magic { class, what, offset, bytes }
}

/// How many first bytes [`class_of_header`] looks at; fewer are fine.
pub const HEADER_LEN: usize = 512;

/// The table for first bytes; the first line that fits decides.
#[rustfmt::skip]
pub const MAGIC: &[Magic] = &[
    magic(Class::Critical, "PEM key or certificate", 0, b"-----BEGIN "),
    magic(Class::Critical, "SSH public key", 0, b"ssh-"),
    magic(Class::Critical, "SSH public key (ECDSA)", 0, b"ecdsa-sha2-"),
    magic(Class::Critical, "age encrypted", 0, b"age-encryption.org/"),
    magic(Class::Critical, "KeePass", 0, b"\x03\xd9\xa2\x9a"),
    magic(Class::Critical, "SQLite database", 0, b"SQLite format 3\0"),
    magic(Class::Critical, "SQLite journal", 0, b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"),
    magic(Class::Critical, "SQLite write-ahead log", 0, b"\x37\x7f\x06\x82"),
    magic(Class::Critical, "SQLite write-ahead log (big endian)", 0, b"\x37\x7f\x06\x83"),
    magic(Class::Critical, "redb database", 0, b"redb\x1a\x0a"),
    magic(Class::Critical, "Redis dump", 0, b"REDIS0"),
    magic(Class::Critical, "PostgreSQL dump", 0, b"PGDMP"),
    magic(Class::Document, "script", 0, b"#!"),
    magic(Class::Document, "PDF", 0, b"%PDF-"),
    magic(Class::Document, "PostScript", 0, b"%!PS"),
    magic(Class::Document, "RTF", 0, b"{\\rtf"),
    magic(Class::Document, "XML", 0, b"<?xml"),
    magic(Class::Document, "HTML", 0, b"<!DOCTYPE"),
    magic(Class::Document, "old office document", 0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    magic(Class::Document, "mail", 0, b"Return-Path:"),
    magic(Class::Document, "mail box", 0, b"From "),
    magic(Class::Ordinary, "ELF program", 0, b"\x7fELF"),
    magic(Class::Ordinary, "Windows program", 0, b"MZ"),
    magic(Class::Ordinary, "macOS program", 0, b"\xcf\xfa\xed\xfe"),
    magic(Class::Ordinary, "Java class or macOS program", 0, b"\xca\xfe\xba\xbe"),
    magic(Class::Ordinary, "WebAssembly", 0, b"\0asm"),
    magic(Class::Media, "JPEG", 0, b"\xff\xd8\xff"),
    magic(Class::Media, "PNG", 0, b"\x89PNG\r\n\x1a\n"),
    magic(Class::Media, "GIF", 0, b"GIF8"),
    magic(Class::Media, "TIFF", 0, b"II*\0"),
    magic(Class::Media, "TIFF (big endian)", 0, b"MM\0*"),
    magic(Class::Media, "JPEG XL", 0, b"\0\0\0\x0cJXL "),
    magic(Class::Media, "MP4, QuickTime, HEIC, AVIF", 4, b"ftyp"),
    magic(Class::Media, "QuickTime", 4, b"moov"),
    magic(Class::Media, "WAV, AVI, WebP", 0, b"RIFF"),
    magic(Class::Media, "AIFF", 0, b"FORM"),
    magic(Class::Media, "MP3 with tag", 0, b"ID3"),
    magic(Class::Media, "MP3", 0, b"\xff\xfb"),
    magic(Class::Media, "FLAC", 0, b"fLaC"),
    magic(Class::Media, "Ogg", 0, b"OggS"),
    magic(Class::Media, "MIDI", 0, b"MThd"),
    magic(Class::Media, "Matroska, WebM", 0, b"\x1a\x45\xdf\xa3"),
    magic(Class::Media, "MPEG program stream", 0, b"\0\0\x01\xba"),
    magic(Class::Media, "Flash video", 0, b"FLV\x01"),
    magic(Class::Media, "Windows media", 0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    magic(Class::Bulk, "gzip", 0, b"\x1f\x8b"),
    magic(Class::Bulk, "bzip2", 0, b"BZh"),
    magic(Class::Bulk, "xz", 0, b"\xfd7zXZ\0"),
    magic(Class::Bulk, "Zstandard", 0, b"\x28\xb5\x2f\xfd"),
    magic(Class::Bulk, "LZ4", 0, b"\x04\x22\x4d\x18"),
    magic(Class::Bulk, "lzip", 0, b"LZIP"),
    magic(Class::Bulk, "ZIP", 0, b"PK\x03\x04"),
    magic(Class::Bulk, "7-Zip", 0, b"7z\xbc\xaf\x27\x1c"),
    magic(Class::Bulk, "RAR", 0, b"Rar!\x1a\x07"),
    magic(Class::Bulk, "Cabinet", 0, b"MSCF"),
    magic(Class::Bulk, "ar, Debian package", 0, b"!<arch>\n"),
    magic(Class::Bulk, "RPM", 0, b"\xed\xab\xee\xdb"),
    magic(Class::Bulk, "cpio", 0, b"0707"),
    magic(Class::Bulk, "tar", 257, b"ustar"),
    magic(Class::Bulk, "Git pack", 0, b"PACK"),
    magic(Class::Bulk, "SquashFS", 0, b"hsqs"),
    magic(Class::Bulk, "QEMU disk", 0, b"QFI\xfb"),
    magic(Class::Bulk, "VMware disk", 0, b"KDMV"),
    magic(Class::Bulk, "VirtualBox disk", 64, b"\x7f\x10\xda\xbe"),
    magic(Class::Bulk, "Hyper-V disk", 0, b"vhdxfile"),
    magic(Class::Bulk, "Virtual PC disk", 0, b"conectix"),
    magic(Class::Bulk, "Windows image", 0, b"MSWIM\0\0\0"),
    magic(Class::Bulk, "LUKS volume", 0, b"LUKS\xba\xbe"),
    magic(Class::Bulk, "GGUF model", 0, b"GGUF"),
    magic(Class::Bulk, "HDF5", 0, b"\x89HDF\r\n\x1a\n"),
    magic(Class::Bulk, "Parquet", 0, b"PAR1"),
    magic(Class::Bulk, "NumPy", 0, b"\x93NUMPY"),
    magic(Class::Bulk, "Apache ORC", 0, b"ORC"),
    magic(Class::Bulk, "packet capture", 0, b"\xd4\xc3\xb2\xa1"),
    magic(Class::Bulk, "disk with boot record", 510, b"\x55\xaa"),
];

/// The class that a name alone gives; `None` where it says nothing and the first bytes may be asked.
///
/// Upper and lower case are the same. Costs no allocation: it is asked for every file of a tree.
pub fn class_of_name(name: &[u8]) -> Option<Class> {
    let table = &*TABLE;
    if let Some(class) = key_of(name).and_then(|key| table.names.get(key)) {
        return Some(class);
    }
    let point = name.iter().rposition(|&b| b == b'.')?;
    if point == 0 {
        return (name.len() > 1).then_some(Class::Critical);
    }
    key_of(&name[point + 1..]).and_then(|key| table.extensions.get(key))
}

/// The class that a file's first bytes give, up to [`HEADER_LEN`] of them; `None` where no line of [`MAGIC`] fits.
pub fn class_of_header(header: &[u8]) -> Option<Class> {
    let fits = |magic: &&Magic| header.get(magic.offset..).is_some_and(|rest| rest.starts_with(magic.bytes));
    MAGIC.iter().find(fits).map(|magic| magic.class)
}

struct Table {
    names: Lookup,
    extensions: Lookup,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let mut table = Table { names: Lookup::new(), extensions: Lookup::new() };
    for rule in RULES {
        rule.names.iter().for_each(|name| table.names.insert(name, rule.class));
        rule.extensions.iter().for_each(|extension| table.extensions.insert(extension, rule.class));
    }
    table
});

/// A word of up to 16 bytes in lower case, packed into one number; `None` for an empty or longer one.
fn key_of(word: &[u8]) -> Option<u128> {
    if word.is_empty() || word.len() > 16 {
        return None;
    }
    let mut key = [0; 16];
    key[..word.len()].copy_from_slice(word);
    key.make_ascii_lowercase();
    Some(u128::from_le_bytes(key))
}

/// A hash table of packed words: open addressing, at most half full. A look-up takes a few nanoseconds, where
/// `HashMap`'s keyed hash alone would take more.
struct Lookup(Vec<(u128, Class)>);

impl Lookup {
    const BITS: u32 = 11;
    const SLOTS: usize = 1 << Self::BITS;

    fn new() -> Self {
        Self(vec![(0, Class::Ordinary); Self::SLOTS])
    }

    /// The slot that holds `key`, or the free one (key 0) where it belongs.
    fn slot(&self, key: u128) -> usize {
        let folded = key as u64 ^ ((key >> 64) as u64).rotate_left(32);
        let mut at = (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - Self::BITS)) as usize;
        while self.0[at].0 != 0 && self.0[at].0 != key {
            at = (at + 1) % Self::SLOTS;
        }
        at
    }

    fn insert(&mut self, word: &str, class: Class) {
        let key = key_of(word.as_bytes()).expect("table words have 1 to 16 bytes");
        let slot = self.slot(key);
        self.0[slot] = (key, class);
    }

    fn get(&self, key: u128) -> Option<Class> {
        let (found, class) = self.0[self.slot(key)];
        (found == key && key != 0).then_some(class)
    }
}

#[cfg(test)]
mod tests;
