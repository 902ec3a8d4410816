#include "tokenizer/normalizer.h"

#include <gtest/gtest.h>

#include <string>

namespace dsa {
namespace {

std::string in_form(NormalForm form, std::string_view text) {
  return Normalizer({form}).normalize(text);
}

struct FormCase {
  const char* text;
  const char* nfc;
  const char* nfd;
  const char* nfkc;
};

// What the tokenizers library (0.23.3) makes of these.
const FormCase kForms[] = {
    {"Amelie", "Amelie", "Amelie", "Amelie"},
    {"\u00E9", "\u00E9", "e\u0301", "\u00E9"},
    {"e\u0301", "\u00E9", "e\u0301", "\u00E9"},
    {"a\u0323\u0302", "\u1EAD", "a\u0323\u0302", "\u1EAD"},
    {"a\u0302\u0323", "\u1EAD", "a\u0323\u0302", "\u1EAD"},              // ordered by class
    {"a\u0301\u0300", "\u00E1\u0300", "a\u0301\u0300", "\u00E1\u0300"},  // one class: kept
    {"\uAC01", "\uAC01", "\u1100\u1161\u11A8", "\uAC01"},                // Hangul
    {"\u1100\u1161\u11A8", "\uAC01", "\u1100\u1161\u11A8", "\uAC01"},
    {"\u1100\u1161\u11A7", "\uAC00\u11A7", "\u1100\u1161\u11A7", "\uAC00\u11A7"},
    {"\u212B", "\u00C5", "A\u030A", "\u00C5"},                   // a singleton
    {"\u0958", "\u0915\u093C", "\u0915\u093C", "\u0915\u093C"},  // not composed again
    {"\uFB01\u00B2", "\uFB01\u00B2", "\uFB01\u00B2", "fi2"},
    {"\u32FF", "\u32FF", "\u32FF", "\u32FF"},  // newer than the library's tables
    {"\u0301", "\u0301", "\u0301", "\u0301"},
    {"", "", "", ""}};

TEST(Normalizer, GivesTheFormsThatTheReferenceGives) {
  for (const FormCase& expected : kForms) {
    EXPECT_EQ(in_form(NormalForm::kNfc, expected.text), expected.nfc) << expected.text;
    EXPECT_EQ(in_form(NormalForm::kNfd, expected.text), expected.nfd) << expected.text;
    EXPECT_EQ(in_form(NormalForm::kNfkc, expected.text), expected.nfkc) << expected.text;
  }
  EXPECT_EQ(in_form(NormalForm::kNfkd, "\uFB01\u00E9"), "fie\u0301");
}

TEST(Normalizer, LeavesBytesThatAreNotUtf8WhereTheyAre) {
  EXPECT_EQ(in_form(NormalForm::kNfc, "e\xFF\u0301\xE4\xBD"), "e\xFF\u0301\xE4\xBD");
}

TEST(Normalizer, AppliesItsFormsInOrder) {
  EXPECT_EQ(Normalizer({NormalForm::kNfkc, NormalForm::kNfd}).normalize("\u212B\u00B2"),
            "A\u030A"
            "2");
  EXPECT_TRUE(Normalizer().changes_nothing());
}

}  // namespace
}  // namespace dsa
