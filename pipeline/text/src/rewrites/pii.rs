//! Personal data in text: what is taken for it, masking it and counting it.
//!
//! Found by shape alone, checked by check digits, dates and ranges where there are any. Rather conservative: a number that may be anything stays.

use std::borrow::Cow;

use super::pii_addresses::{email_at, ip_v4_at, ip_v6_at};
use super::pii_numbers::{card_at, cn_id_at, cn_mobile_at, phone_at, us_ssn_at};

/// A kind of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pii {
    /// `[\w.%+'-]{1,64}@(label\.)+[a-z]{2,}`, where the last label is no file extension; not at example.com, .net, .org and reserved names.
    Email,
    /// Public IPv4 and IPv6 addresses. Private, loopback, documentation and other special ranges stay; so do four numbers below 10
    /// (`1.2.3.4` is a version or a section) other than those of well-known name servers, such as `8.8.8.8`, and `v10.0.19.1`.
    Ip,
    /// `+` and 8 to 15 digits in groups; North American `(ddd) ddd-dddd`, `ddd-ddd-dddd`, `ddd.ddd.dddd`; Chinese `0dd(d)-ddddddd(d)`.
    Phone,
    /// 13 to 19 digits in one or the usual groups, with a known issuer and Luhn's check digit.
    Card,
    /// Resident identity number of China (GB 11643): 18 characters with a province, a date of birth and the check character.
    CnId,
    /// Chinese mobile number: `1[3-9]` and 9 digits in one or as 3-4-4, with or without `+86`.
    CnMobile,
    /// Social Security number of the USA: `ddd-dd-dddd` in the ranges that are issued.
    UsSsn,
}

impl Pii {
    pub const NAMES: [(&'static str, Pii); 7] = [
        ("email", Pii::Email),
        ("ip", Pii::Ip),
        ("phone", Pii::Phone),
        ("card", Pii::Card),
        ("cn_id", Pii::CnId),
        ("cn_mobile", Pii::CnMobile),
        ("us_ssn", Pii::UsSsn),
    ];
}

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PiiKinds(u8);

impl PiiKinds {
    pub fn with(self, kind: Pii) -> PiiKinds {
        PiiKinds(self.0 | 1 << kind as u8)
    }

    fn has(self, kind: Pii) -> bool {
        self.0 & 1 << kind as u8 != 0
    }
}

/// What stands in the place of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PiiStyle {
    /// `[EMAIL]`, `[IP]`, `[PHONE]`, `[CARD]`, `[CN_ID]`, `[CN_MOBILE]`, `[US_SSN]`.
    Label,
    /// Dolma's: `|||EMAIL_ADDRESS|||`, `|||IP_ADDRESS|||`, `|||PHONE_NUMBER|||`; other kinds as labels.
    Dolma,
    /// datatrove's: made-up addresses in turn, from the first on in every document; other kinds as labels.
    Datatrove,
}

impl PiiStyle {
    pub const NAMES: [(&'static str, PiiStyle); 3] =
        [("label", PiiStyle::Label), ("dolma", PiiStyle::Dolma), ("datatrove", PiiStyle::Datatrove)];

    /// The mask of the `count`-th of its kind.
    fn mask(self, kind: Pii, count: usize) -> &'static str {
        match (self, kind) {
            (PiiStyle::Dolma, Pii::Email) => "|||EMAIL_ADDRESS|||",
            (PiiStyle::Dolma, Pii::Ip) => "|||IP_ADDRESS|||",
            (PiiStyle::Dolma, Pii::Phone | Pii::CnMobile) => "|||PHONE_NUMBER|||",
            (PiiStyle::Datatrove, Pii::Email) => ["email@example.com", "firstname.lastname@example.org"][count % 2],
            (PiiStyle::Datatrove, Pii::Ip) => DATATROVE_ADDRESSES[count % DATATROVE_ADDRESSES.len()],
            (_, Pii::Email) => "[EMAIL]",
            (_, Pii::Ip) => "[IP]",
            (_, Pii::Phone) => "[PHONE]",
            (_, Pii::Card) => "[CARD]",
            (_, Pii::CnId) => "[CN_ID]",
            (_, Pii::CnMobile) => "[CN_MOBILE]",
            (_, Pii::UsSsn) => "[US_SSN]",
        }
    }
}

/// Addresses that answered no ping when datatrove chose them.
const DATATROVE_ADDRESSES: [&str; 6] =
    ["22.214.171.124", "126.96.36.199", "188.8.131.52", "184.108.40.206", "220.127.116.11", "18.104.22.168"];

/// The text with personal data of these kinds masked; borrowed when there is none. Applying it twice equals once.
pub fn mask_pii(text: &str, kinds: PiiKinds, style: PiiStyle) -> Cow<'_, str> {
    let Some(mut masked) = masked_once(text, kinds, style) else { return Cow::Borrowed(text) };
    // A mask can lay its neighbour bare: the digits in `8.8.8.8:4111111111111111` may be a port, behind `[IP]:` they are a card.
    while let Some(again) = masked_once(&masked, kinds, style).filter(|again| *again != masked) {
        masked = again;
    }
    Cow::Owned(masked)
}

fn masked_once(text: &str, kinds: PiiKinds, style: PiiStyle) -> Option<String> {
    let mut out = String::new();
    let mut done = 0;
    let mut counts = [0; Pii::NAMES.len()];
    for found in Finder::new(text, kinds) {
        out.push_str(&text[done..found.start]);
        let count = &mut counts[found.kind as usize];
        out.push_str(style.mask(found.kind, *count));
        *count += 1;
        done = found.end;
    }
    if done == 0 {
        return None;
    }
    out.push_str(&text[done..]);
    Some(out)
}

/// How many pieces of personal data of these kinds a text has.
pub fn pii_count(text: &str, kinds: PiiKinds) -> usize {
    Finder::new(text, kinds).count()
}

#[derive(Debug, PartialEq, Eq)]
struct Found {
    start: usize,
    end: usize,
    kind: Pii,
}

/// The place of a number that begins at a digit, if it is one of its kind.
type Recognize = fn(&[u8], usize) -> Option<(usize, usize)>;

/// Finds personal data from the left; what is found does not overlap.
struct Finder<'a> {
    bytes: &'a [u8],
    kinds: PiiKinds,
    /// Where to go on.
    at: usize,
    /// The end of what was found last.
    done: usize,
}

impl<'a> Finder<'a> {
    fn new(text: &'a str, kinds: PiiKinds) -> Finder<'a> {
        Finder { bytes: text.as_bytes(), kinds, at: 0, done: 0 }
    }

    /// Personal data at an `@` or at the first digit of a number.
    fn found_at(&self, at: usize) -> Option<Found> {
        let found =
            |kind, range: Option<(usize, usize)>| range.map(|(start, end)| Found { start, end, kind }).filter(|_| self.kinds.has(kind));
        let text = self.bytes;
        if text[at] == b'@' {
            return self.kinds.has(Pii::Email).then(|| found(Pii::Email, email_at(text, at, self.done))).flatten();
        }
        // Most numbers in a text are short and stand alone.
        let digits = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let joins = |byte: &u8| matches!(byte, b'.' | b':' | b'-' | b' ' | b')') || byte.is_ascii_hexdigit();
        let goes_on = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b' ' | b':' | b'(');
        let more = text.get(at + digits).is_some_and(joins) && text.get(at + digits + 1).is_some_and(goes_on);
        if digits < 11 && !more {
            return None;
        }
        let has = |kind| self.kinds.has(kind);
        let numbers: [(Pii, Recognize); 7] = [
            (Pii::Ip, ip_v4_at),
            (Pii::Ip, ip_v6_at),
            (Pii::CnId, cn_id_at),
            (Pii::Card, card_at),
            (Pii::UsSsn, us_ssn_at),
            (Pii::CnMobile, cn_mobile_at),
            (Pii::Phone, phone_at),
        ];
        numbers.into_iter().filter(|(kind, _)| has(*kind)).find_map(|(kind, recognize)| found(kind, recognize(text, at)))
    }
}

impl Iterator for Finder<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        loop {
            let bytes = self.bytes;
            let at = self.at + bytes[self.at..].iter().position(|byte| byte.is_ascii_digit() || *byte == b'@')?;
            let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            self.at = at + digits.max(1);
            if let Some(found) = self.found_at(at).filter(|found| found.start >= self.done) {
                self.at = found.end.max(self.at);
                self.done = found.end;
                return Some(found);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: PiiKinds = PiiKinds(0x7f);

    /// `cases`: a text and what it becomes.
    fn check(cases: &[(&str, &str)]) {
        for (text, expected) in cases {
            let masked = mask_pii(text, ALL, PiiStyle::Label);
            assert_eq!(masked, *expected, "{text:?}");
            assert_eq!(matches!(masked, Cow::Borrowed(_)), text == expected, "{text:?}");
        }
    }

    fn check_stays(texts: &[&str]) {
        check(&texts.iter().map(|text| (*text, *text)).collect::<Vec<_>>());
    }

    #[test]
    fn addresses() {
        check(&[
            ("", ""),
            ("Write to Bob.Smith+x@mail.host.co.uk.", "Write to [EMAIL]."),
            ("<bob@host.com>,'al@host.org' mailto:x_y@z.io?subject=a", "<[EMAIL]>,'[EMAIL]' mailto:[EMAIL]?subject=a"),
            ("邮箱abc123@qq.com，谢谢", "邮箱[EMAIL]，谢谢"),
            ("13812345678@163.com, o'neil@host.com", "[EMAIL], [EMAIL]"),
            ("at 8.8.4.40, 93.184.216.34:80 or [2606:2800:220:1:248:1893:25c8:1946].", "at [IP], [IP]:80 or [[IP]]."),
            ("dns 8.8.8.8, 1.1.1.1", "dns [IP], [IP]"),
            ("http://93.184.216.34/x 2a00:1450:4001::200e, 地址93.184.216.34。", "http://[IP]/x [IP], 地址[IP]。"),
        ]);
        check_stays(&[
            "a@b, @name, a@b.c, x@.com, .@host.com, a@1.2.3.4, image@2x.png, user@localhost, me@example.com, lodash@4.17.21",
            "10.0.0.1 172.16.3.4 192.168.1.1 127.0.0.1 169.254.1.1 100.64.0.1 192.0.2.7 198.51.100.7 203.0.113.7 224.0.0.1 255.255.255.255",
            "1.2.3.4 v10.20.30.40 1.2.3.4.50 10.20.30 300.20.30.40 01.20.30.40 11.22.33.444 11.22.33.44-beta 96.0.4664.110",
            "::1 fe80::1 2001:db8::1 12:34:56 2024:12 2000::5 std::a::b dead::beef",
        ]);
    }

    #[test]
    fn telephone_numbers() {
        check(&[
            ("call +1 (415) 555-2671 or +44 20 7946 0958.", "call [PHONE] or [PHONE]."),
            ("(415) 555-2671, 415-555-2671, 415.555.2671", "[PHONE], [PHONE], [PHONE]"),
            ("+33.6.12.34.56.78 +498912345678", "[PHONE] [PHONE]"),
            ("电话：010-88886666，(0571) 88886666，0571-8888666", "电话：[PHONE]，[PHONE]，[PHONE]"),
            ("手机13812345678，+86 138-1234-5678, 0086 138 1234 5678", "手机[CN_MOBILE]，[CN_MOBILE], [CN_MOBILE]"),
        ]);
        check_stays(&[
            "1234567 12345678901 12812345678 138123456789 0.13812345678 id=13812345678 /13812345678 a13812345678 1381234567",
            "115-555-2671 415-155-2671 415 555 2671 4155552671 1-2-3 2024-11-25 12:30:45 (2024) 100-2000",
            "+250 000 000 people, +5, 3+12345678901234567 +0 123 456 789",
            "ISBN 978-0-306-40615-7, 978-7-302-12345-6 DOI 10.1000/182",
        ]);
    }

    #[test]
    fn cards_and_papers() {
        check(&[
            ("4111111111111111 or 4111 1111 1111 1111, 3782-822463-10005.", "[CARD] or [CARD], [CARD]."),
            ("5555555555554444 6011111111111117 3530111333300000 6212345678901232", "[CARD] [CARD] [CARD] [CARD]"),
            ("身份证11010519491231002X，440524188001010014", "身份证[CN_ID]，440524188001010014"),
            ("11010519491231002x 34052419800101001X", "[CN_ID] [CN_ID]"),
            ("SSN 078-05-1120.", "SSN [US_SSN]."),
        ]);
        check_stays(&[
            "4111111111111112 4111 1111 1111 1112 1234567812345670 4111 1111 1111 1111 1111 41111111111111110000",
            "110105194912310021 110105194913310021 99010519491231002X 11010519490230002X x11010519491231002X",
            "000-12-3456 666-12-3456 912-12-3456 123-00-4567 123-45-0000 1123-45-6789 123-45-67890 123-456-789",
        ]);
    }

    #[test]
    fn kinds_styles_and_counts() {
        let text = "a@b.com 93.184.216.34 c@d.org e@f.net 4111111111111111";
        let some = PiiKinds::default().with(Pii::Email).with(Pii::Ip);
        assert_eq!(mask_pii(text, some, PiiStyle::Label), "[EMAIL] [IP] [EMAIL] [EMAIL] 4111111111111111");
        assert_eq!(
            mask_pii(text, some, PiiStyle::Datatrove),
            "email@example.com 22.214.171.124 firstname.lastname@example.org email@example.com 4111111111111111"
        );
        assert_eq!(mask_pii("a@b.com 93.184.216.34", some, PiiStyle::Dolma), "|||EMAIL_ADDRESS||| |||IP_ADDRESS|||");
        assert_eq!((pii_count(text, some), pii_count(text, ALL), pii_count("", ALL)), (4, 5, 0));
    }

    proptest! {
        #[test]
        fn twice_equals_once(text in "([0-9]{1,4}|\\.|-| |@|\\+|\\(|\\)|:|a|com|8\\.8\\.8\\.40|4111111111111111|13812345678|é|中|x@y\\.com){0,20}") {
            for (_, style) in PiiStyle::NAMES {
                let once = mask_pii(&text, ALL, style).into_owned();
                prop_assert_eq!(mask_pii(&once, ALL, style), &*once);
            }
            prop_assert_eq!(pii_count(&text, ALL) > 0, mask_pii(&text, ALL, PiiStyle::Label) != text);
        }
    }
}
