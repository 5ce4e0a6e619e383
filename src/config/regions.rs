//! Regions that the server serves.

use super::region;
use std::fmt;
use std::str::FromStr;

/// The regions of IVS Real-Time: <https://docs.aws.amazon.com/general/latest/gr/ivs.html>.
pub(super) const AWS: &str = "ap-northeast-1,ap-northeast-2,ap-south-1,eu-central-1,eu-west-1,us-east-1,us-west-2";

/// At least one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions(Vec<String>);

impl Regions {
    /// Whether `region` is served.
    pub fn contains(&self, region: &str) -> bool {
        self.0.iter().any(|known| known == region)
    }
}

impl FromStr for Regions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let regions: Vec<_> = text.split(',').map(|part| region(part.trim())).collect::<Result<_, _>>()?;
        Ok(Regions(regions))
    }
}

impl fmt::Display for Regions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_parsed() {
        let aws: Regions = AWS.parse().unwrap();
        assert!(aws.contains("us-east-1") && !aws.contains("us-east-2") && !aws.contains(""));
        let own: Regions = "us-east-1, lab-1".parse().unwrap();
        assert_eq!(own.to_string(), "us-east-1, lab-1");
        for bad in ["", "us-east-1,", "US-EAST-1", "a b", "*"] {
            assert!(bad.parse::<Regions>().is_err(), "{bad}");
        }
    }
}
