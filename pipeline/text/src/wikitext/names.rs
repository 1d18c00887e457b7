//! Names that wikitext knows: tags, namespaces of links, entities.

/// Tags whose content is no text.
pub const DROPPED: &[&str] = &[
    "ref",
    "references",
    "gallery",
    "math",
    "chem",
    "ce",
    "timeline",
    "score",
    "imagemap",
    "hiero",
    "graph",
    "mapframe",
    "maplink",
    "templatedata",
    "templatestyles",
    "style",
    "script",
    "inputbox",
    "categorytree",
    "indicator",
    "section",
];

/// Tags whose content is taken as it stands.
pub const VERBATIM: &[&str] = &["nowiki", "pre", "syntaxhighlight", "source"];

/// Namespaces of links that show a file or sort the page, in the languages of the largest wikis.
const NO_TEXT_NAMESPACES: &[&str] = &[
    "file",
    "image",
    "media",
    "category",
    "datei",
    "bild",
    "kategorie",
    "fichier",
    "image",
    "catégorie",
    "archivo",
    "imagen",
    "categoría",
    "файл",
    "изображение",
    "категория",
    "ファイル",
    "画像",
    "カテゴリ",
    "文件",
    "檔案",
    "档案",
    "图像",
    "圖像",
    "分类",
    "分類",
    "ficheiro",
    "imagem",
    "categoria",
    "immagine",
    "bestand",
    "afbeelding",
    "categorie",
    "plik",
    "grafika",
    "kategoria",
    "fil",
    "kategori",
    "파일",
    "분류",
    "ملف",
    "تصنيف",
    "soubor",
    "зображення",
    "категорія",
    "tập tin",
    "thể loại",
    "berkas",
    "dosya",
    "פרופיל",
    "קובץ",
    "קטגוריה",
];

/// Whether a link's target shows a file, sorts the page or leads to the page in another language.
pub fn is_no_text(target: &str) -> bool {
    let Some((namespace, _)) = target.split_once(':') else { return false };
    let namespace = namespace.trim().to_lowercase();
    let language = |name: &str| (2..=3).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_lowercase());
    NO_TEXT_NAMESPACES.contains(&&namespace[..]) || language(&namespace)
}

/// The character of an entity's name.
pub fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hexadecimal) => u32::from_str_radix(hexadecimal, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code).filter(|c| !c.is_control());
    }
    Some(match name {
        "nbsp" => '\u{a0}',
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "ndash" => '–',
        "mdash" => '—',
        "hellip" => '…',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "laquo" => '«',
        "raquo" => '»',
        "times" => '×',
        "minus" => '−',
        "middot" => '·',
        "deg" => '°',
        "thinsp" => '\u{2009}',
        "ensp" => '\u{2002}',
        "emsp" => '\u{2003}',
        "shy" => '\u{ad}',
        "euro" => '€',
        "pound" => '£',
        "sect" => '§',
        "prime" => '′',
        "Prime" => '″',
        "rarr" => '→',
        "larr" => '←',
        _ => return None,
    })
}
