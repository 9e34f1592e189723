// What the fields of a lead are called.

export const LABELS = {
  id: "Id",
  firstName: "First name",
  lastName: "Last name",
  email: "E-mail address",
  phone: "Phone",
  dateOfBirth: "Date of birth",
  source: "Source",
  createdAt: "Created",
  updatedAt: "Updated",
  duplicateOf: "Duplicate of",
  consent: "Consent",
  additionalData: "Additional data",
};
