"""Under which licence a file stands, by what its header, its repository and tables say; who opted out."""

from derailleur.corpus.licences.catalogue import UNKNOWN, catalogue, licence_class
from derailleur.corpus.licences.declared import declared_licences, is_description
from derailleur.corpus.licences.files import (
    FolderLicence,
    folder_licences,
    is_licence_file,
    nearest_folder,
)
from derailleur.corpus.licences.header import header_licences, side_file_licences
from derailleur.corpus.licences.match import LicenceMatch, match_licence
from derailleur.corpus.licences.opt_out import OptOut
from derailleur.corpus.licences.policy import (
    FileLicence,
    LicenceConfig,
    LicencePolicy,
    Statement,
    file_licence,
    judge_licence,
)

__all__ = [
    "UNKNOWN",
    "FileLicence",
    "FolderLicence",
    "LicenceConfig",
    "LicenceMatch",
    "LicencePolicy",
    "OptOut",
    "Statement",
    "catalogue",
    "declared_licences",
    "file_licence",
    "folder_licences",
    "header_licences",
    "is_description",
    "is_licence_file",
    "judge_licence",
    "licence_class",
    "match_licence",
    "nearest_folder",
    "side_file_licences",
]
